# Listings, single questions, resets, echoes, and refusals with the attribute that is to blame.
nft() { $RECORD nft "$@"; }
nft -f - <<'END'
table inet t {
  comment "all of it"
  counter hits { packets 7 bytes 70 }
  quota much { over 10 mbytes used 3 bytes }
  set hosts { type ipv4_addr; elements = { 1.2.3.4 comment "one", 5.6.7.8 } }
  set nets { type ipv4_addr; flags interval; counter; elements = { 10.0.0.0/8 counter packets 5 bytes 6, 192.168.0.1-192.168.0.9 } }
  set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 } }
  set dyn { type ipv4_addr; flags dynamic, timeout; timeout 1h; elements = { 1.1.1.1 timeout 50m } }
  map marks { type inet_service : mark; elements = { 80 : 0x5 } }
  map verdicts { type inet_service : verdict; elements = { 80 : accept } }
  map objects { type ipv4_addr : counter; elements = { 1.1.1.1 : "hits" } }
  chain base { type filter hook forward priority filter; policy drop; counter packets 9 bytes 99; jump a; }
  chain a { tcp dport { 80, 443 } accept; ip saddr @hosts drop; counter name "hits"; quota over 5 kbytes drop; }
}
END
nft list ruleset
nft list table inet t
nft list chain inet t a
nft list set inet t dyn
nft list counter inet t hits
nft list quotas
nft get element inet t hosts '{ 5.6.7.8 }'
nft get element inet t nets '{ 10.1.1.1 }'
nft get element inet t hosts '{ 9.9.9.9 }'
GOLDEN_NUMBERS=7:25 nft list chain inet t base
nft list chain inet t base
GOLDEN_NUMBERS=13:33 nft list set inet t nets
nft list set inet t nets
nft reset counter inet t hits
nft reset quota inet t much
nft list counters
nft -e add rule inet t a tcp dport 9 counter
nft -e add element inet t hosts '{ 7.7.7.7 }'
nft -e add table inet t
nft create table inet t
nft delete table inet none
nft delete chain inet t base
nft create chain inet t a
nft add chain inet t a '{ type filter hook input priority 0; policy drop; }'
nft add rule inet t none accept
nft add rule inet t a jump none
nft delete rule inet t a handle 99
nft create element inet t hosts '{ 5.6.7.8 }'
nft add element inet t nets '{ 9.0.0.0-10.0.0.5 }'
nft delete element inet t nets '{ 11.0.0.0/8 }'
nft add element inet t verdicts '{ 81 : jump none }'
nft add element inet t marks '{ 80 : 0x6 }'
nft delete set inet t hosts
nft create set inet t hosts '{ type ipv4_addr; }'
nft delete counter inet t hits
nft delete counter inet t none
nft create counter inet t hits
nft 'add table inet u; add rule inet t a accept; delete chain inet t none; delete set inet t none2'
nft -c 'add table inet u; add chain inet u c'
nft -c delete chain inet t none
export GOLDEN_NUMBERS=2:26,5:27,8:28,11:29,14:30,20:31
nft delete table inet none
nft delete chain inet t none
nft delete rule inet t a handle 99
nft delete set inet t none
nft delete element inet t hosts '{ 9.9.9.9 }'
nft delete counter inet t none
nft delete element inet t hosts '{ 5.6.7.8 }'
nft delete rule inet t a handle 26
nft delete table inet t
