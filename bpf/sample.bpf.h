/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* Which keys are recorded: the definition is that of schema/src/sample.rs. */
#ifndef SAMPLE_BPF_H
#define SAMPLE_BPF_H

/* A key is recorded if the upper 32 bits of its hash are below this; 0: every key.
 * Changed while recording. */
volatile __u32 sample_limit = 0;

#define IN_EVERY_SAMPLE 0

#define HASH_START 0xcbf29ce484222325ULL

static __always_inline __u64 hash_add(__u64 hash, __u8 byte)
{
	return (hash ^ byte) * 0x100000001b3ULL;
}

static __always_inline __u64 hash_end(__u64 hash)
{
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return hash ^ hash >> 33;
}

static __always_inline bool is_in_sample(__u64 hash, __u32 limit)
{
	return !limit || hash >> 32 < limit;
}

#endif
