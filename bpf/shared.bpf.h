/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What the programs of every source have: the switch, the ring and the counters. */
#ifndef SHARED_BPF_H
#define SHARED_BPF_H

/* Off while attaching and from the moment of stopping, so that a recording
 * begins and ends for all probes at once. */
volatile bool recording = false;

/* Sized by --buffer-size before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mcrec_counters);
} counters SEC(".maps");

static __always_inline struct mcrec_counters *counters_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

#define COUNT(field)                                                           \
	do {                                                                   \
		struct mcrec_counters *here = counters_here();                 \
		if (here)                                                      \
			__sync_fetch_and_add(&here->field, 1);                 \
	} while (0)

#endif
