# Runs a command behind a network link, with avahi as the neighbour: TERM once avahi has seen the service, then the
# answer to whether it has left. In namespaces of its own; arguments: a directory, yes or no for IPv6, the command.
set -e
dir=$1
six=$2
shift 2
mount -t tmpfs none /run
mkdir -p /run/dbus /run/avahi-daemon
cat >"$dir/bus.conf" <<X
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
X
printf '[server]\nuse-ipv4=yes\nuse-ipv6=%s\n[publish]\ndisable-publishing=yes\n' "$six" >"$dir/avahi.conf"
ip link set lo up
ip netns add peer
if [ "$six" = yes ]; then
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
    ip netns exec peer sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
fi
ip link add here type veth peer name there
ip link set there netns peer
ip address add 10.9.0.1/24 dev here
ip link set here up
ip -n peer address add 10.9.0.2/24 dev there
ip -n peer link set there up
dbus-daemon --config-file="$dir/bus.conf" --nofork --nopidfile &
until test -S /run/dbus/system_bus_socket; do sleep 0.05; done
avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$dir/avahi.conf" &
until test -S /run/avahi-daemon/socket; do sleep 0.05; done
stdbuf -oL avahi-browse --parsable _http._tcp >"$dir/seen" &
ip netns exec peer "$@" &
stepdown=$!
# wait_for SIGN: until avahi-browse has told it over each protocol.
wait_for() {
    for protocol in IPv4 $(test "$six" = no || echo IPv6); do
        until grep -q "^$1;here;$protocol;web;" "$dir/seen"; do sleep 0.05; done
    done
}
wait_for +
echo seen
kill -TERM $stepdown
wait $stepdown || echo "stepdown: $?"
wait_for -
echo left
