#!/bin/sh
# What a guest runs: records a memcached in each scene of /etc/scenes.txt that the kernel's
# command line names (scenes=auto,usdt), for load=SECONDS and churn=SECONDS. Each scene's
# folder goes to the host, as a tar archive to the first of ports=DEVICE,..., when it is over:
#
#   client, client.error   what the client counted, and whether something went wrong
#   capture.parquet, mcrec what mcrec wrote and said
#   facts                  lines of a name and a value
#   kernel                 what the kernel logged meanwhile
/bin/busybox mount -t proc none /proc
/bin/busybox --install -s /bin
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tracefs none /sys/kernel/tracing
mount -t debugfs none /sys/kernel/debug
ip link set lo up
address=127.0.0.1:11211

# What a process takes to get somewhere is not known before; nothing in here may take
# longer than this, also where the host is busy.
patience=180

# until_true COMMAND...: waits until it succeeds, or fails when that takes too long.
until_true() {
	give_up=$(($(cut -d. -f1 /proc/uptime) + patience))
	until "$@"; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt $give_up ] || return 1
		usleep 50000
	done
}
uptime_ms() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}0"
}
fact() {
	echo "$@" >>facts
}
gone() {
	# A zombie is gone: only this shell has not asked yet.
	[ ! -d "/proc/$1" ] || grep -qs '^State:.Z' "/proc/$1/status"
}
answers() {
	drill $address open:1 >/dev/null 2>&1
}
recording() {
	grep -qs '^mcrec: through' mcrec || gone "$recorder"
}
client_waits() {
	grep -qs waiting client || gone "$client"
}
# Runs that the kernel skipped, as another program was at work on that CPU.
recursion_misses() {
	cat "/proc/$1"/fdinfo/* 2>/dev/null |
		awk '/^prog_type|^prog_id/ { id = $2 } /^recursion_misses/ { misses[id] = $2 }
			END { for (id in misses) sum += misses[id]; print sum + 0 }'
}

# Records what the client does.
# shellcheck disable=SC2086,SC2094 # lists of words; the capture is only written
record() {
	before=$(uptime_ms)
	mcrec -p $memcached -o capture.parquet $recorder_options 2>mcrec &
	recorder=$!
	until_true recording || { fact failed "mcrec neither records nor says why"; return; }
	if gone $recorder; then
		wait $recorder
		fact mcrec_status $?
		fact refused yes
	else
		fact begin_ms $(($(uptime_ms) - before))
		echo >&3
		# The client gives up by itself where memcached does not answer it.
		wait $client
		fact client_status $?
		fact recursion_misses "$(recursion_misses $recorder)"
		before=$(uptime_ms)
		kill -INT $recorder
		until_true gone $recorder || { fact failed "mcrec does not end"; return; }
		wait $recorder
		fact mcrec_status $?
		fact end_ms $(($(uptime_ms) - before))
	fi
}

# What BPF has in the kernel: programs, links and maps.
bpf_objects() {
	for kind in prog link map; do
		bpftool $kind list 2>/dev/null | grep -c '^[0-9]'
	done | tr '\n' ' '
}
as_before() {
	[ "$(bpf_objects)" = "$objects" ]
}

# Begins and ends recordings, one after the other, while the client is at work.
# shellcheck disable=SC2086,SC2094 # lists of words; the capture is only written
again() {
	objects=$(bpf_objects)
	# Or a recording takes minutes to begin where all is emulated.
	renice 19 $client >/dev/null
	number=0
	while [ $number -lt $times ]; do
		mcrec -p $memcached -o capture.parquet --force $recorder_options 2>mcrec &
		recorder=$!
		until_true recording || { fact failed "mcrec neither records nor says why"; return; }
		kill -INT $recorder
		until_true gone $recorder || { fact failed "mcrec does not end"; return; }
		wait $recorder
		status=$?
		[ $status -le 1 ] || { fact failed "recording $number ended with status $status"; return; }
		number=$((number + 1))
	done
	fact recordings $number
	# What is not used any more, the kernel frees after a while.
	until_true as_before || fact failed "BPF objects are left: $(bpf_objects)after $objects"
	fact objects "$(bpf_objects)"
}

# shellcheck disable=SC2086 # lists of words
scene() {
	"/servers/$server/memcached" -u memcache -t 4 -l 127.0.0.1 -p 11211 $server_options 2>memcached &
	memcached=$!
	until_true answers || { fact failed "memcached does not answer"; return; }

	mkfifo go
	drill $address open:4 wait $phases >client 2>client.error <go &
	client=$!
	exec 3>go
	until_true client_waits || { fact failed "the client does not connect"; return; }

	if [ -n "$times" ]; then
		echo >&3
		again
		kill $client
		wait $client
	else
		record
	fi
	exec 3>&-
	answers && fact answers yes
	kill $memcached
	until_true gone $memcached || { fact failed "memcached does not end"; return; }
	wait $memcached
	fact memcached_status $?
}

# send FOLDER: to a serial port, or behind the last one on a disk.
send() {
	for port in $(option ports | tr , ' '); do
		if [ -c "$port" ] || [ -b "$port" ]; then break; fi
	done
	case $port in
	/dev/tty*)
		stty -F "$port" raw -echo -opost
		tar -cf "$port" "$1"
		;;
	/dev/vport*) tar -cf "$port" "$1" ;;
	*)
		tar -cf archive "$1"
		dd if=archive of="$port" seek=$sent conv=notrunc,fsync 2>/dev/null
		sent=$((sent + $(stat -c %s archive) / 512))
		rm archive
		;;
	esac
}
sent=0

option() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}
wanted=,$(option scenes),
load=$(option load)
churn=$(option churn)
# The line that each scene's log begins after.
marker=0
while IFS='|' read -r name server server_options recorder_options phases _; do
	name=${name%% *}
	case $name in '#'* | '') continue ;; esac
	case $wanted in *,"$name",*) ;; *) continue ;; esac
	server=${server# } server=${server%% *}
	# `times=200` is for here, the other words are for mcrec.
	times=$(echo "$recorder_options" | sed -n 's/.*times=\([0-9]*\).*/\1/p')
	recorder_options=$(echo "$recorder_options" | sed 's/times=[0-9]*//')
	phases=$(echo " $phases " | sed "s/ load / load:$load /; s/ churn / churn:$churn /")
	echo "scene $name"
	marker=$((marker + 1))
	echo "mcrec-scene-$marker" >/dev/kmsg
	mkdir -p "/results/$name"
	cd "/results/$name" || exit
	fact kernel "$(uname -r)"
	# One that cannot change says in its version what it was built for.
	if [ -r /sys/kernel/debug/sched/preempt ]; then
		fact preempt "$(sed 's/.*(\(.*\)).*/\1/' /sys/kernel/debug/sched/preempt)"
	else
		fact built "$(uname -v)"
	fi
	scene </dev/null
	rm -f go
	dmesg | sed "1,/mcrec-scene-$marker\$/d" >kernel
	cd /results || exit
	send "$name"
	rm -r "$name"
	# A memcached that is left over would be in the way of the next scene.
	gone $memcached || break
done </etc/scenes.txt
echo "no more scenes"
sync
reboot -f
