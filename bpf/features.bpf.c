// SPDX-License-Identifier: (MIT OR Apache-2.0)
/* Programs that find out what the kernel can do. They record nothing. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum { NOT_KNOWN = -1 };

/* The least preemption count that a program at a raw tracepoint ran with: above 0, nothing
 * preempts it. */
volatile int least_count = 0x7fffffff;

#if defined(__TARGET_ARCH_x86)
/* Which of the two there is depends on the release. */
extern const int __preempt_count __ksym __weak;

struct pcpu_hot {
	int preempt_count;
} __attribute__((preserve_access_index));

extern const struct pcpu_hot pcpu_hot __ksym __weak;

static __always_inline int preemption_count(void)
{
	enum { COUNT = 0x7fffffff };	/* the highest bit is a flag */

	if (&__preempt_count)
		return *(int *)bpf_this_cpu_ptr(&__preempt_count) & COUNT;
	if (&pcpu_hot)
		return ((struct pcpu_hot *)bpf_this_cpu_ptr(&pcpu_hot))->preempt_count & COUNT;
	return NOT_KNOWN;
}
#else
struct thread_info___counts {
	struct {
		u32 count;
	} preempt;
} __attribute__((preserve_access_index));

struct task_struct___counts {
	struct thread_info___counts thread_info;
} __attribute__((preserve_access_index));

static __always_inline int preemption_count(void)
{
	struct task_struct___counts *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, thread_info.preempt.count);
}
#endif

static __always_inline int look(void)
{
	int count = preemption_count();

	if (count < least_count)
		least_count = count;
	return 0;
}

SEC("tp_btf/sock_send_length") int at_send(void *ctx)
{
	return look();
}

SEC("tp_btf/sys_exit") int at_exit(void *ctx)
{
	return look();
}

/* For links to be tried with. */
SEC("uprobe.multi") int nothing(void *ctx)
{
	return 0;
}
