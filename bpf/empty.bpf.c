// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * Programs that do nothing, for the places where the sources attach, or no more than to
 * read what a probe says: the least that recording through them can cost. Only the
 * benchmarks load them.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "argument.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("tp_btf/sys_exit") int sys_exit(void *ctx)
{
	return 0;
}

SEC("tp_btf/sock_recv_length") int sock_recv_length(void *ctx)
{
	return 0;
}

SEC("tp_btf/sock_send_length") int sock_send_length(void *ctx)
{
	return 0;
}

SEC("usdt") int probe(struct pt_regs *ctx)
{
	return 0;
}

static __always_inline int read_arguments(struct pt_regs *ctx, __u32 count)
{
	long values[ARGUMENTS_MAX] = {};

	fetch(ctx, values, count);
	for (__u32 i = 0; i < ARGUMENTS_MAX; i++)
		barrier_var(values[i]);	/* somebody wants it */
	return 0;
}

/* By how many arguments mcrec reads at a probe. */
SEC("usdt") int arguments_1(struct pt_regs *ctx)
{
	return read_arguments(ctx, 1);
}

SEC("usdt") int arguments_3(struct pt_regs *ctx)
{
	return read_arguments(ctx, 3);
}

SEC("usdt") int arguments_5(struct pt_regs *ctx)
{
	return read_arguments(ctx, 5);
}
