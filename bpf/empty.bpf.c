// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * Programs that do nothing, for the places where the sources attach: the least that
 * recording through them can cost. Only the benchmarks load them.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

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
