#!/usr/bin/env bash
# Runs a command with a network of its own, which has the loopback interface alone, and a process tree of its own: ports
# never collide with anything, nothing reaches the outside, and whatever the command leaves behind ends with it.
#
# Works as root, and as an ordinary user where the kernel allows user namespaces. Elsewhere the command runs as it is.
# Usage: isolate.sh COMMAND [ARG ...]
set -euo pipefail

if [ $# -eq 0 ]; then
	echo "usage: isolate.sh COMMAND [ARG ...]" >&2
	exit 2
fi

# The first process of the tree stays a shell: it reaps what others orphan.
# shellcheck disable=SC2016
inside='
if command -v ip >/dev/null; then
	ip link set lo up
else
	python3 -c "
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    request = bytearray(fcntl.ioctl(s, 0x8913, struct.pack(\"16s24x\", b\"lo\")))  # SIOCGIFFLAGS
    struct.pack_into(\"H\", request, 16, struct.unpack_from(\"H\", request, 16)[0] | 1)  # IFF_UP
    fcntl.ioctl(s, 0x8914, bytes(request))  # SIOCSIFFLAGS
"
fi || exit 125
"$@"
exit $?
'

if command -v unshare >/dev/null; then
	for user in "" --map-root-user; do
		how=(unshare $user --net --pid --fork --kill-child --mount-proc -- bash -c "$inside" isolate)
		if "${how[@]}" true 2>/dev/null; then
			SEEDCORE_ISOLATED=1 exec "${how[@]}" "$@"
		fi
	done
fi
echo "isolate: no namespaces here (not root, and no user namespaces): running on the machine's own network" >&2
exec "$@"
