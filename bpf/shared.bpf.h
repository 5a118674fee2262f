/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What the programs of every source have: the switch and the counters. */
#ifndef SHARED_BPF_H
#define SHARED_BPF_H

/* Off while attaching and from the moment of stopping, so that a recording
 * begins and ends for all probes at once. */
volatile bool recording = false;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mcrec_counters);
} counters SEC(".maps");

/* By program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MCREC_PROGRAMS);
	__type(key, __u32);
	__type(value, struct mcrec_runs);
} runs SEC(".maps");

/* A run of the program: when it began, if it is one that is timed. */
struct run {
	struct mcrec_runs *runs;
	__u64 began;
};

static __always_inline struct run begin_run(__u32 program)
{
	struct run run = { .runs = bpf_map_lookup_elem(&runs, &program) };

	if (run.runs && run.runs->count++ % MCREC_TIMED_ONE_IN == 0)
		run.began = bpf_ktime_get_ns();
	return run;
}

static __always_inline int end_run(struct run run)
{
	if (run.runs && run.began) {
		run.runs->time += bpf_ktime_get_ns() - run.began;
		run.runs->timed++;
	}
	return 0;
}

static __always_inline struct mcrec_counters *counters_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

/* Never filled, so a tail call into it goes on behind the call. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} no_programs SEC(".maps");

/*
 * Keeps the program on the stack of the thread that runs it. From 6.13 on the kernel's
 * compiler gives a program of the uprobe kind that needs 64 bytes of stack a private one
 * for each CPU, and relies on no second thread entering the program there meanwhile. But
 * uprobe programs run preemptibly, so on a kernel that preempts two threads meet on that
 * stack, and the kernel crashes. A program with a tail call never has a private stack.
 * Each program of that kind has this on a path that is not taken while recording; the
 * recorder checks what the kernel made of it before it attaches (probe/stack.rs).
 */
#define ON_ITS_THREADS_STACK(ctx) bpf_tail_call(ctx, &no_programs, 0)

#define COUNT(field)                                                           \
	do {                                                                   \
		struct mcrec_counters *here = counters_here();                 \
		if (here)                                                      \
			__sync_fetch_and_add(&here->field, 1);                 \
	} while (0)

#endif
