# ctnetlink: one UDP flow seen by a listener, dumps, questions, counters, marks, statistics, refusals.
ct() { $RECORD conntrack "$@" > /dev/null; }
note() { echo "! $*" >> "$GOLDEN_LOG"; }
sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
nft 'table ip t { chain o { type filter hook output priority 0; ct state new,established accept; }; }'
send() { socat -u "EXEC:printf $1" "UDP4:127.0.0.1:$3,bind=127.0.0.1:$2"; }
socat -u UDP4-RECV:2000,bind=127.0.0.1 /dev/null &
sink=$!
$RECORD conntrack -E > /dev/null &
listener=$!
sleep 0.5
note pass 1001
send x 1001 2000
note pass 1002
send x 1002 2000
sleep 0.2
name="-p udp -s 127.0.0.1 -d 127.0.0.1"
ct -L
ct -L -f ipv6
ct -L -p udp --sport 1001
ct -G $name --sport 1001 --dport 2000
ct -G $name --sport 9 --dport 2000
ct -U -f ipv4 -p udp --sport 1002 -m 7
ct -U -p udp --sport 1002 -m 7
ct -L -m 7
ct -L -u ASSURED
ct -L -z
ct -L
ct -S
ct -C
ct -I $name --sport 1001 --dport 2000 -t 30
ct -D $name --sport 9 --dport 2000
note pass 1001
send x 1001 2000
ct -D -f ipv4 -p udp --sport 1001
sleep 0.2
ct -F
sleep 0.3
note events
kill -INT $listener
kill $sink
wait
