# SPDX-License-Identifier: Apache-2.0
# What the scripts share: saying what happens, showing progress, finding the cache.
# Sourced by bash with `set -eu`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${HYDRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hydra}

say() {
	printf '%s\n' "$*" >&2
}

# await JOB TITLE: shows that it goes on until it has ended; its status. With several at a time (lane=FILE) the title goes to that file.
await() {
	local job=$1 title=$2 started=$SECONDS status=0
	[ -z "${lane:-}" ] || printf '%s' "$title" >"$lane"
	while kill -0 "$job" 2>/dev/null; do
		[ ! -t 2 ] || [ -n "${lane:-}" ] || printf '\r%-58s %4ss ' "$title" "$((SECONDS - started))" >&2
		sleep 0.2
	done
	[ ! -t 2 ] || printf '\r\033[K' >&2
	wait "$job" || status=$?
	return "$status"
}

# step TITLE CMD…: runs CMD with its output in a file, shows that it goes on, and the output's end if it fails.
step() {
	local title=$1 started=$SECONDS log status=0
	shift
	log=$(mktemp)
	"$@" >"$log" 2>&1 </dev/null &
	await $! "$title" || status=$?
	if [ "$status" = 0 ]; then
		printf '%-58s ok, %ss\n' "$title" "$((SECONDS - started))" >&2
	else
		printf '%-58s FAILED (status %s); the end of its output:\n' "$title" "$status" >&2
		tail -n 60 "$log" >&2
	fi
	rm -f "$log"
	return "$status"
}

# need_root: namespaces, mounts and cgroups are what this project is about.
need_root() {
	[ "$(id -u)" = 0 ] || { say "$0: must run as root (it makes namespaces, mounts and cgroups)"; exit 1; }
}
