/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What the server sent to a client. Nothing is parsed here but what tells a value, which
 * is not copied, from the rest. */
#ifndef SEND_BPF_H
#define SEND_BPF_H

#include "value.bpf.h"

/* Where the executable's memory is that is never written: its constants. */
const volatile __u64 readonly_start = 0;
const volatile __u64 readonly_end = 0;

static __always_inline void submit_send(struct send_scratch *scratch, bool last)
{
	struct connection *connection = connection_of(scratch->head.connection);
	__u64 used = scratch->used;

	barrier_var(used);
	if (!connection || used > SEGMENTS_BYTES)
		return;
	scratch->send.last = last;
	if (!submit(&scratch->head, connection, sizeof(struct mcrec_send) + used))
		COUNT(context_lost);
	scratch->send.first++;
	scratch->send.segments = 0;
	scratch->used = 0;
}

/* Copies bytes that the executable has among its constants, and at most eight of them:
 * mostly they are those of the last time. */
static __always_inline long copy_constant(struct send_scratch *scratch, __u8 *to, __u64 base)
{
	if (scratch->constant_at != base) {
		scratch->constant_at = 0;
		if (bpf_probe_read_user(&scratch->constant, sizeof(scratch->constant),
					(const void *)base))
			return -1;
		scratch->constant_at = base;
	}
	*(__u64 *)to = scratch->constant;
	return 0;
}

static __always_inline bool is_constant(__u64 base, __u64 length)
{
	enum { COPIED = sizeof(((struct send_scratch *)0)->constant) };

	return length <= COPIED && base >= readonly_start && base + COPIED <= readonly_end;
}

static __always_inline long copy_segment(struct send_scratch *scratch, __u8 *to, __u64 base,
					 __u64 length)
{
	if (is_constant(base, length))
		return copy_constant(scratch, to, base);
	return bpf_probe_read_user(to, length, (const void *)base);
}

/* Copies both ends of what is too long to be copied whole. */
static __always_inline long copy_ends(__u8 *bytes, __u64 base, __u64 length)
{
	return bpf_probe_read_user(bytes, MCREC_SEGMENT_END, (const void *)base) ?:
	       bpf_probe_read_user(bytes + MCREC_SEGMENT_END, MCREC_SEGMENT_END,
				   (const void *)(base + length - MCREC_SEGMENT_END));
}

/* A segment of so many bytes is complete, of which the last ones are a value's. */
static __always_inline __u32 end_segment(struct send_scratch *scratch,
					 struct mcrec_segment *segment, __u32 length, __u32 head,
					 __u32 tail, __u32 value)
{
	segment->length = length;
	segment->head = head;
	segment->tail = tail;
	scratch->used += sizeof(*segment) + head + tail;
	scratch->sent += length;
	scratch->value = value;
	scratch->send.segments++;
	return length;
}

/* How much of a value is in so many bytes that follow what is no value. */
static __always_inline __u32 take_value(struct send_scratch *scratch, __u32 length)
{
	__u32 value = scratch->value_left;

	if (scratch->head_left)
		return 0;
	if (value > length)
		value = length;
	scratch->value_left -= value;
	return value;
}

/*
 * Adds the next part of a buffer: bytes that are copied, and those of a value that follow
 * them, which are not. Returns how many there are in all. Not static, as add_chunk.
 */
__noinline int add_part(__u64 base, __u64 length)
{
	struct send_scratch *scratch = send_scratch_here();
	struct mcrec_segment *segment;
	__u64 used, head, copied, tail = 0, limit;
	__u32 value = 0;
	bool begins;
	__u8 *bytes;

	if (!scratch)
		return 0;
	make_sure(scratch);
	if (scratch->used > SEGMENTS_BYTES - SEGMENT_BYTES)
		submit_send(scratch, false);
	used = scratch->used;
	barrier_var(used);
	if (used > SEGMENTS_BYTES - SEGMENT_BYTES)	/* never; the verifier cannot know */
		return 0;
	segment = (struct mcrec_segment *)(scratch->segments + used);
	bytes = scratch->segments + used + sizeof(*segment);
	if (length > PART_MAX)
		length = PART_MAX;
	limit = scratch->frame ?: scratch->head_left;
	begins = !limit && !scratch->value_left;
	if (begins)
		limit = scratch->head_left = length;
	head = limit < length ? limit : length;
	copied = head;
	barrier_var(copied);
	if (copied > MCREC_SEGMENT_WHOLE) {
		copied = begins ? copy_long_head(scratch, used, bytes, base) : 0;
		if (copied) {
			head = copied;
		} else if (copy_ends(bytes, base, head)) {
			COUNT(context_lost);
		} else {
			copied = tail = MCREC_SEGMENT_END;
		}
	} else if (copied && copy_segment(scratch, bytes, base, copied)) {
		COUNT(context_lost);
		copied = 0;
	} else if (begins && may_have_value(bytes)) {
		find_value(used, copied);
		if (scratch->head_left < head)
			copied = head = scratch->head_left;
	}
	barrier_var(copied);
	if (copied > MCREC_SEGMENT_WHOLE)	/* never, too */
		return 0;
	if (scratch->frame) {
		scratch->frame = 0;
	} else {
		scratch->head_left -= head;
		if (!tail)
			value = take_value(scratch, length - head);
	}
	return end_segment(scratch, segment, head + value, copied, tail, value);
}

/*
 * The same where a buffer is the beginning of a reply and is copied whole, and has no value in
 * it: most do, so it is kept short. Returns 0 where that is not so.
 */
static __always_inline __u32 add_whole(struct send_scratch *scratch, __u64 base, __u64 length)
{
	__u64 used = scratch->used;
	struct mcrec_segment *segment;
	__u8 *bytes;

	barrier_var(used);
	if (length > MCREC_SEGMENT_WHOLE || used > SEGMENTS_BYTES - SEGMENT_BYTES ||
	    scratch->frame | scratch->head_left | scratch->value_left)
		return 0;
	segment = (struct mcrec_segment *)(scratch->segments + used);
	bytes = scratch->segments + used + sizeof(*segment);
	if (copy_segment(scratch, bytes, base, length))
		return 0;
	if (may_have_value(bytes) && !expect_value(scratch, used, bytes, length))
		return 0;
	return end_segment(scratch, segment, length, length, 0, 0);
}

/* All of a buffer, up to what was taken of the send. */
static __always_inline void add_buffer(struct send_scratch *scratch, __u64 base, __u64 length)
{
	for (__u32 i = 0; i < PARTS_MAX; i++) {
		__u32 part;

		if (!length || scratch->sent >= scratch->send.accepted)
			return;
		part = add_part(base, length);
		if (!part || part > length)
			break;
		base += part;
		length -= part;
	}
	if (length)
		COUNT(context_lost);
}

/* One buffer of a send. Whether there is no more to be done. Not static, as add_chunk. */
__noinline int add_iovec(__u32 index)
{
	struct send_scratch *scratch = send_scratch_here();
	__u64 i = index % IOVECS, count, base, length;
	struct iovec *iovecs;

	if (!scratch)
		return 1;
	iovecs = scratch->message.iovecs;
	if (!i && (index || !scratch->iovecs_fetched)) {
		count = scratch->iovec_count - index;
		barrier_var(count);
		if (count > IOVECS)
			count = IOVECS;
		if (bpf_probe_read_user(iovecs, count * sizeof(struct iovec),
					(const void *)(scratch->iovecs_at +
						       (__u64)index * sizeof(struct iovec)))) {
			COUNT(context_lost);
			return 1;
		}
	}
	base = iovecs[i].iov_base;
	length = iovecs[i].iov_len;
	if (length && !is_value(scratch, length) && !add_whole(scratch, base, length))
		add_buffer(scratch, base, length);
	return scratch->sent >= scratch->send.accepted;
}

static __always_inline void add_message(struct send_scratch *scratch, __u64 at)
{
	struct message *message = &scratch->message;
	__u64 iovecs_at = at + __builtin_offsetof(struct message, iovecs);
	__u64 count;

	scratch->iovecs_fetched = true;
	if (bpf_probe_read_user(message, sizeof(*message), (const void *)at)) {
		/* There may be no memory where the buffers' addresses would be. */
		scratch->iovecs_fetched = false;
		if (bpf_probe_read_user(&message->header, sizeof(message->header),
					(const void *)at)) {
			COUNT(context_lost);
			return;
		}
	}
	if (message->header.msg_iov != iovecs_at)
		scratch->iovecs_fetched = false;
	/* Each datagram begins with a frame header. */
	scratch->frame = message->header.msg_name ? FRAME : 0;
	count = message->header.msg_iovlen;
	if (count > IOVECS_MAX)
		count = IOVECS_MAX;
	scratch->iovecs_at = message->header.msg_iov;
	scratch->iovec_count = count;
	for (__u32 i = 0; i < IOVECS_MAX; i++)
		if (i >= count || add_iovec(i))
			break;
}

/*
 * What the kernel did not take of a send comes again, from the first byte that it did not
 * take: it is remembered what that byte is of, because it may be one of a value, which may
 * look like the header of another. So may a value whose header was sent with what is before.
 */
static __always_inline void begin_send(struct send_scratch *scratch, struct connection *connection)
{
	scratch->head_left = connection->head_left;
	scratch->value_left = connection->value_left;
}

static __always_inline void end_send(struct send_scratch *scratch, struct connection *connection)
{
	__u64 again = scratch->sent - scratch->send.accepted, of_value = scratch->value;

	make_sure(scratch);
	if (scratch->sent < scratch->send.accepted) {	/* not all was found */
		connection->head_left = connection->value_left = 0;
		return;
	}
	if (of_value > again)
		of_value = again;
	connection->head_left = scratch->head_left + again - of_value;
	connection->value_left = scratch->value_left + of_value;
}

static __always_inline int sent(struct pt_regs *regs, struct sock *sock, __u64 accepted, bool vector)
{
	__u32 descriptor = PT_REGS_PARM1_SYSCALL(regs);
	struct connection *connection = connection_of(descriptor);
	struct send_scratch *scratch = send_scratch_here();
	__u64 argument = PT_REGS_PARM2_SYSCALL(regs);

	if (!connection) {
		COUNT(context_lost);
		return 0;
	}
	if (!scratch || !is_of_client(connection, descriptor, sock) || connection->step == SKIPPING)
		return 0;
	if (connection->step != UNCLEAR && vector)
		connection->step = READY;
	fill_head(&scratch->head, descriptor, INODE_OF(connection->owner), MCREC_SEND);
	scratch->send.accepted = accepted;
	scratch->send.first = 0;
	scratch->send.segments = 0;
	scratch->sent = 0;
	scratch->used = 0;
	scratch->value = 0;
	scratch->expected = 0;
	scratch->frame = 0;
	begin_send(scratch, connection);
	if (vector)
		add_message(scratch, argument);
	else
		add_buffer(scratch, argument, PT_REGS_PARM3_SYSCALL(regs));
	end_send(scratch, connection);
	submit_send(scratch, true);
	return 0;
}

#endif
