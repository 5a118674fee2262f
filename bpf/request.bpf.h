/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * Whether what was read is exactly one request, and on which key: so that those on
 * keys outside of the sample can be left out. What is in any way unusual
 * is not recognised, and so recorded; the decoder (protocol/) knows better.
 */
#ifndef REQUEST_BPF_H
#define REQUEST_BPF_H

/* Whether requests of the text and meta protocols, or of the binary one, may be left
 * out here. All others are recorded, and those outside of the sample left out there. */
const volatile bool skips_text = false;
const volatile bool skips_binary = false;

enum protocol {
	NO_PROTOCOL = 0,
	TEXT = 1,	/* and meta */
	BINARY = 2,
};

/* So much of the beginning of a read is looked at; a power of two. */
#define PEEKED 512
#define PEEKED_AT(request, at) ((request)->bytes[(at) & (PEEKED - 1)])
/* Bytes of a line after its (first) key. */
#define REST_MAX 128
/* Words after the key: up to 1.6.39 a line of more than 20 is refused early. */
#define WORDS_MAX 16

/* A word of a line, while it is read. */
struct word {
	__u64 number;
	__u64 last;		/* its last bytes */
	__u32 length;
	__u32 digits;
};

/*
 * The verifier follows every value that it knows through every turn of a loop: what
 * lies here and is volatile it does not know.
 */
struct request {
	__u64 buffer;		/* where the read put it */
	__u64 length;		/* of the whole read, of which bytes has the beginning */
	__u8 bytes[PEEKED];
	volatile __u32 at;
	volatile __u64 verb;
	__u64 hash;		/* of the key */
	volatile struct word word;
	/* Of the words after the key: */
	__u64 numbers[4];	/* the first four, or NOT_A_NUMBER */
	volatile __u64 letters;	/* a bit for each letter that one begins with */
	volatile __u32 words;
	volatile bool letter_twice;
	volatile bool negative;	/* the word begins with a sign */
};

/* As struct read_scratch. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct request);
} requests SEC(".maps");

static __always_inline struct request *request_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&requests, &zero);
}

#define NOT_A_NUMBER (~0ULL)
#define NEGATIVE (1ULL << 63)

/* The bytes of a short word as a number. */
static __always_inline __u64 packed(const char *word)
{
	__u64 bytes = 0;

	for (__u32 i = 0; i < 8 && word[i]; i++)
		bytes = bytes << 8 | (__u8)word[i];
	return bytes;
}

/* The same place, of which the verifier knows nothing. */
static __always_inline __u32 any(struct request *request, __u32 at)
{
	request->at = at;
	return request->at;
}

static __always_inline void end_word(struct request *request)
{
	__u64 number = request->word.number;
	__u32 digits = request->word.digits;
	__u32 words = request->words;

	if (request->word.length == digits + 1 && request->negative)
		number |= NEGATIVE;
	else if (request->word.length != digits)
		number = NOT_A_NUMBER;
	if (!digits || digits > 19)
		number = NOT_A_NUMBER;
	if (words <= 4)
		request->numbers[(words - 1) & 3] = number;
}

static __always_inline void begin_word(struct request *request)
{
	request->words++;
	request->word.number = request->word.last = 0;
	request->word.length = request->word.digits = 0;
}

static __always_inline void add_to_word(struct request *request, __u8 byte)
{
	if (!request->word.length) {
		__u64 letter = 1ULL << (byte & 63);

		request->negative = byte == '-';
		if (request->letters & letter)
			request->letter_twice = true;
		request->letters |= letter;
	}
	if (byte >= '0' && byte <= '9') {
		request->word.number = request->word.number * 10 + byte - '0';
		request->word.digits++;
	}
	request->word.last = request->word.last << 8 | byte;
	request->word.length++;
}

/* Reads the words from the end of the key to the end of the line. Returns where the
 * line feed is, or 0. */
static __always_inline __u32 read_rest(struct request *request, __u32 at)
{
	request->words = 0;
	request->letters = 0;
	request->letter_twice = false;
	for (__u32 i = 0; i < REST_MAX; i++) {
		__u8 byte = PEEKED_AT(request, at + i);

		if (byte == ' ' || byte == '\r') {
			if (request->words) {
				if (!request->word.length)
					return 0;
				end_word(request);
			}
			if (byte == '\r')
				return PEEKED_AT(request, at + i + 1) == '\n' ? at + i + 1 : 0;
			begin_word(request);
		} else if (byte < ' ') {
			return 0;
		} else {
			add_to_word(request, byte);
		}
	}
	return 0;
}

/* Hashes the key at `at`. Returns where it ends, or 0. */
static __always_inline __u32 read_key(struct request *request, __u32 at)
{
	__u64 hash = HASH_START;

	for (__u32 i = 0; i <= MCREC_KEY_MAX; i++) {
		__u8 byte = PEEKED_AT(request, at + i);

		if (byte == ' ' || byte == '\r') {
			request->hash = hash_end(hash);
			return i ? at + i : 0;
		}
		/* Also what would end the line, or cut it off. */
		if (byte < ' ')
			return 0;
		hash = hash_add(hash, byte);
	}
	return 0;
}

/* A word of digits, perhaps after a sign, at `at`. Returns where it ends, or 0. */
static __always_inline __u32 skip_number(struct request *request, __u32 at)
{
	__u32 first = PEEKED_AT(request, at) == '-';

	for (__u32 i = first; i < 11; i++) {
		__u8 byte = PEEKED_AT(request, at + i);

		if (byte == ' ')
			return i > first ? at + i : 0;
		if (byte < '0' || byte > '9')
			return 0;
	}
	return 0;
}

static __always_inline bool fits(__u64 number)
{
	return number < 1ULL << 31;
}

/* The server refuses a value that is longer, and reads none. */
static __always_inline bool is_length(__u64 number)
{
	return number < (1ULL << 31) - 2;
}

/* A value of that many bytes and its end follow the line feed and end the read. */
static __always_inline bool is_value_whole(struct request *request, __u32 line_feed, __u64 value)
{
	__u8 end[2] = {};

	if (value > MCREC_CHUNK || line_feed + 1 + value + 2 != request->length)
		return false;
	return !bpf_probe_read_user(end, sizeof(end),
				    (const void *)(request->buffer + request->length -
						   sizeof(end))) &&
	       end[0] == '\r' && end[1] == '\n';
}

/* `words` after the key, and perhaps one that says that no reply is wanted. */
static __always_inline bool has_words(struct request *request, __u32 words)
{
	return request->words == words ||
	       (request->words == words + 1 && request->word.last == packed("noreply"));
}

static __always_inline bool is_store_line(struct request *request, bool with_cas)
{
	if (!fits(request->numbers[0]) || !fits(request->numbers[1] & ~NEGATIVE) ||
	    !is_length(request->numbers[2]))
		return false;
	if (with_cas && request->numbers[3] & NEGATIVE)
		return false;
	return has_words(request, with_cas ? 4 : 3);
}

/* Reads a line with one key up to its end. Returns where its line feed is, or 0. */
static __always_inline __u32 read_line(struct request *request)
{
	__u64 verb = 0;
	__u32 at;

	for (at = 0; at < 8; at++) {
		if (request->bytes[at] == ' ')
			break;
		verb = verb << 8 | request->bytes[at];
	}
	if (at++ == 8)
		return 0;
	request->verb = verb;
	at = any(request, at);
	verb = request->verb;
	if (verb == packed("gat") || verb == packed("gats")) {
		at = skip_number(request, at);
		if (!at++)
			return 0;
	}
	at = read_key(request, any(request, at));
	return at ? read_rest(request, any(request, at)) : 0;
}

static __always_inline bool is_store(__u64 verb)
{
	return verb == packed("set") || verb == packed("add") || verb == packed("replace") ||
	       verb == packed("append") || verb == packed("prepend") || verb == packed("cas");
}

/* A line with one key, and the value that it announces. */
static __always_inline bool is_one_line(struct request *request)
{
	__u64 verb, value;
	__u32 end = read_line(request);

	if (!end)
		return false;
	end = any(request, end);
	verb = request->verb;
	value = request->numbers[2];
	if (is_store(verb))
		return is_store_line(request, verb == packed("cas")) &&
		       is_value_whole(request, end, value);
	if (verb == packed("mg") || verb == packed("ms") || verb == packed("md") ||
	    verb == packed("ma")) {
		/* A key in base64 is another one. */
		if (request->words > WORDS_MAX || request->letter_twice ||
		    request->letters & 1ULL << ('b' & 63))
			return false;
		if (verb == packed("ms"))
			return request->words && is_length(request->numbers[0]) &&
			       is_value_whole(request, end, request->numbers[0]);
		return end + 1 == request->length;
	}
	if (end + 1 != request->length)
		return false;
	if (verb == packed("get") || verb == packed("gets") || verb == packed("gat") ||
	    verb == packed("gats")) {
		/* Of several keys: always recorded. It is one request all the same. */
		if (request->words)
			request->hash = IN_EVERY_SAMPLE;
		return true;
	}
	if (verb == packed("delete"))
		return has_words(request, 0);
	if (verb == packed("incr") || verb == packed("decr"))
		return has_words(request, 1) && !(request->numbers[0] & NEGATIVE);
	if (verb == packed("touch"))
		return has_words(request, 1) && fits(request->numbers[0] & ~NEGATIVE);
	return false;
}

/* Extras of the commands on a key, by opcode, and whether a value follows. */
static __always_inline bool is_on_key(__u8 opcode, __u8 *extras, bool *value)
{
	*extras = 0;
	*value = false;
	switch (opcode) {
	case 0x00: case 0x09: case 0x0c: case 0x0d:	/* get */
	case 0x04: case 0x14:				/* delete */
		return true;
	case 0x01: case 0x02: case 0x03:		/* set, add, replace */
	case 0x11: case 0x12: case 0x13:
		*extras = 8;
		*value = true;
		return true;
	case 0x05: case 0x06: case 0x15: case 0x16:	/* incr, decr */
		*extras = 20;
		return true;
	case 0x0e: case 0x0f: case 0x19: case 0x1a:	/* append, prepend */
		*value = true;
		return true;
	case 0x1c: case 0x1d: case 0x1e: case 0x23: case 0x24:	/* touch, gat */
		*extras = 4;
		return true;
	}
	return false;
}

static __always_inline bool is_one_packet(struct request *request)
{
	enum { HEADER = 24 };
	const __u8 *bytes = request->bytes;
	__u32 key = bytes[2] << 8 | bytes[3];
	__u64 body = (__u64)bytes[8] << 24 | bytes[9] << 16 | bytes[10] << 8 | bytes[11];
	__u64 hash = HASH_START;
	__u8 extras;
	bool value;

	if (request->length < HEADER || HEADER + body != request->length)
		return false;
	if (!is_on_key(bytes[1], &extras, &value) || bytes[4] != extras || bytes[5])
		return false;
	if (!key || key > MCREC_KEY_MAX || key + extras > body)
		return false;
	if (!value && key + extras != body)
		return false;
	for (__u32 i = 0; i < MCREC_KEY_MAX && i < key; i++) {
		__u32 at = HEADER + extras + i;

		/* A compiler that sees that it is in range (clang 19) leaves out the mask, and
		 * older kernels do not see it. */
		barrier_var(at);
		hash = hash_add(hash, PEEKED_AT(request, at));
	}
	request->hash = hash_end(hash);
	return true;
}

static __always_inline bool peek(struct request *request, __u64 buffer, __u64 length)
{
	__u64 peeked = length;

	request->buffer = buffer;
	request->length = length;
	barrier_var(peeked);
	if (peeked > PEEKED)
		peeked = PEEKED;
	return !bpf_probe_read_user(request->bytes, peeked, (const void *)buffer);
}

/*
 * These two look at a read of `length` bytes in `buffer`, and leave what they find in this
 * CPU's request_here(). They are not static: so the kernel verifies each once, and not for
 * each way that leads to it, which took three times as long. They take no pointer, because
 * 5.10 knows of none there.
 */

/*
 * How many bytes of a read tell all: where it begins with a request to store whose value
 * goes on to the read's end or beyond it, those before the value. 0 where that is not sure.
 */
__noinline __u64 before_value(__u64 buffer, __u64 length)
{
	enum { HEADER = 24 };
	struct request *request = request_here();
	const __u8 *bytes;
	__u64 body;
	__u32 end, key;

	if (!request || !peek(request, buffer, length))
		return 0;
	bytes = request->bytes;
	if (bytes[0] == 0x80) {
		key = bytes[2] << 8 | bytes[3];
		body = (__u64)bytes[8] << 24 | bytes[9] << 16 | bytes[10] << 8 | bytes[11];
		if (HEADER + body < request->length || key > MCREC_KEY_MAX ||
		    bytes[4] + key > body)
			return 0;
		return HEADER + bytes[4] + key;
	}
	end = read_line(request);
	if (!end || !is_store(request->verb) ||
	    !is_store_line(request, request->verb == packed("cas")))
		return 0;
	end = any(request, end) + 1;
	return end + request->numbers[2] + 2 < request->length ? 0 : end;
}

/* Which protocol the read is one request of, if of any that may be left out. */
__noinline enum protocol recognise(__u64 buffer, __u64 length)
{
	struct request *request = request_here();

	if (!request || !peek(request, buffer, length))
		return NO_PROTOCOL;
	if (request->bytes[0] == 0x80)
		return skips_binary && is_one_packet(request) ? BINARY : NO_PROTOCOL;
	return skips_text && is_one_line(request) ? TEXT : NO_PROTOCOL;
}

#endif
