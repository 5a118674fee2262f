// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * The syscalls source: the bytes that memcached reads from and sends to its clients, seen
 * at the end of its system calls, in one of two ways. Where the kernel has tracepoints for
 * sockets, they show what is received and sent, and probes on the C library's functions
 * show what is accepted and closed: that slows no other call, and no other process. Else
 * the end of all system calls shows all of it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "mcrec.h"
#include "shared.bpf.h"
#ifdef WITHOUT_ATOMICS
#include "kernel_ring.bpf.h"
#else
#include "ring.bpf.h"
#endif
#include "socket.bpf.h"
#include "syscall.bpf.h"
#include "read.bpf.h"
#include "send.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set before loading, and so constants to the kernel's compiler. */
const volatile __u32 target_tgid = 0;
/* The recorder's process id namespace, which numbers target_tgid; zero for the
 * initial one. */
const volatile __u32 namespace_inode = 0;

/* As many pid namespaces as there can be one in the other. */
#define LEVELS_MAX 33

/* The target's number in the initial namespace; zero until it was seen. */
static __u32 initial_tgid;

/*
 * Whether the recorder's namespace, in which this process may be by way of one below it,
 * numbers it as the target.
 */
static __noinline bool is_target_there(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	__u32 at;

	for (at = 0; at <= level && at < LEVELS_MAX; at++) {
		struct upid number = {};

		bpf_probe_read_kernel(&number, sizeof(number), &pid->numbers[at]);
		if (BPF_CORE_READ(number.ns, ns.inum) == namespace_inode)
			return number.nr == (__s32)target_tgid;
	}
	return false;
}

static __always_inline bool is_target(void)
{
	__u32 tgid;

	/* The cheaper of the two, where the kernel has it. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		tgid = bpf_get_current_task_btf()->tgid;
	else
		tgid = bpf_get_current_pid_tgid() >> 32;
	if (!namespace_inode)
		return tgid == target_tgid;
	if (initial_tgid)
		return tgid == initial_tgid;
	if (!is_target_there())
		return false;
	initial_tgid = tgid;
	return true;
}

static __always_inline int returned(struct pt_regs *regs, long result)
{
	if (result < 0)
		return 0;
	switch ((int)SYSCALL_NUMBER(regs)) {
	case SYS_READ:
		return result ? received(regs, 0, result, MCREC_READ) : 0;
	case SYS_RECVFROM:
		return result ? received(regs, 0, result, MCREC_DATAGRAM) : 0;
	case SYS_SENDMSG:
		return result ? sent(regs, 0, result, true) : 0;
	case SYS_WRITE:
		return result ? sent(regs, 0, result, false) : 0;
	case SYS_ACCEPT:
	case SYS_ACCEPT4:
		return opened(result, true);
	case SYS_SOCKET:
		return opened(result, false);
	case SYS_CLOSE:
		return closed(PT_REGS_PARM1_SYSCALL(regs));
	}
	return 0;
}

/* Does work where the program runs for the target, and counts that. Programs are numbered
 * as the recorder has them (mcrec/src/probe/syscalls.rs). */
#define IN_TARGET(number, work)                                                \
	do {                                                                   \
		struct run run;                                                \
                                                                               \
		if (!recording || !is_target())                                \
			return 0;                                              \
		run = begin_run(number);                                       \
		work;                                                          \
		return end_run(run);                                           \
	} while (0)

/* Runs at the end of every system call of every process. */
SEC("tp_btf/sys_exit") int BPF_PROG(sys_exit, struct pt_regs *regs, long result)
{
	IN_TARGET(0, returned(regs, result));
}

/* The registers with which the system call at hand was made. */
static __always_inline struct pt_regs *call(void)
{
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

static __always_inline int socket_received(struct sock *sock, int result)
{
	struct pt_regs *regs = call();

	if (SYSCALL_NUMBER(regs) == SYS_READ)
		received(regs, sock, result, MCREC_READ);
	return 0;
}

static __always_inline int socket_sent(struct sock *sock, int result)
{
	struct pt_regs *regs = call();
	__u64 number = SYSCALL_NUMBER(regs);

	if (number == SYS_SENDMSG || number == SYS_WRITE)
		sent(regs, sock, result, number == SYS_SENDMSG);
	return 0;
}

/* These two run at the end of what is received from and sent to all sockets. What fails,
 * as it does where there is nothing to receive, is not worth to be counted. */
SEC("tp_btf/sock_recv_length") int BPF_PROG(sock_recv_length, struct sock *sock, int result)
{
	if (result <= 0)
		return 0;
	IN_TARGET(1, socket_received(sock, result));
}

SEC("tp_btf/sock_send_length") int BPF_PROG(sock_send_length, struct sock *sock, int result)
{
	if (result <= 0)
		return 0;
	IN_TARGET(2, socket_sent(sock, result));
}

/*
 * The same three at perf's tracepoints. It takes longer to get there, but they run with
 * preemption off on all kernels. From 7.0 on those above do not: while one is preempted, the
 * kernel skips it for every other thread on that CPU.
 */
SEC("tp/raw_syscalls/sys_exit") int perf_sys_exit(struct trace_event_raw_sys_exit *event)
{
	IN_TARGET(0, returned(call(), event->ret));
}

SEC("tp/sock/sock_recv_length") int perf_recv_length(struct trace_event_raw_sock_msg_length *event)
{
	if (event->ret <= 0)
		return 0;
	IN_TARGET(1, socket_received(event->sk, event->ret));
}

SEC("tp/sock/sock_send_length") int perf_send_length(struct trace_event_raw_sock_msg_length *event)
{
	if (event->ret <= 0)
		return 0;
	IN_TARGET(2, socket_sent(event->sk, event->ret));
}

/* The end of accept and accept4, and the beginning of close, in the target only. */
SEC("uretprobe.multi") int BPF_URETPROBE(accepted, int descriptor)
{
	if (!recording) {
		ON_ITS_THREADS_STACK(ctx);
		return 0;
	}
	IN_TARGET(3, descriptor >= 0 ? opened(descriptor, true) : 0);
}

SEC("uprobe.multi") int BPF_UPROBE(closes, int descriptor)
{
	if (!recording) {
		ON_ITS_THREADS_STACK(ctx);
		return 0;
	}
	IN_TARGET(4, closing(descriptor));
}
