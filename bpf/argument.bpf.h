/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * The arguments of a USDT probe. Each call site has its own encoding of them (the same
 * probe has several), which libbpf reads from the executable into a map. Its
 * bpf_usdt_arg finds the site in that map for each argument anew; here it is found
 * once for all of them.
 */
#ifndef ARGUMENT_BPF_H
#define ARGUMENT_BPF_H

#define ARGUMENTS_MAX 5

/* The value of the register at `offset` in struct pt_regs. */
static __always_inline bool read_register(struct pt_regs *ctx, __u32 offset, __u64 *value)
{
	return !bpf_probe_read_kernel(value, sizeof(*value), (void *)ctx + offset);
}

static __always_inline bool read_argument(struct pt_regs *ctx, struct __bpf_usdt_arg_spec *site,
					  long *value)
{
	__u64 bits = site->val_off, address, index = 0;

	switch (site->arg_type) {
	case BPF_USDT_ARG_CONST:
		break;
	case BPF_USDT_ARG_REG:
		if (!read_register(ctx, site->reg_off, &bits))
			return false;
		break;
	case BPF_USDT_ARG_SIB:
		if (!read_register(ctx, site->idx_reg_off, &index))
			return false;
		index <<= site->scale_bitshift;
		/* fall through */
	case BPF_USDT_ARG_REG_DEREF:
		if (!read_register(ctx, site->reg_off, &address) ||
		    bpf_probe_read_user(&bits, sizeof(bits),
					(const void *)(address + index + site->val_off)))
			return false;
		break;
	default:
		return false;
	}
	/* To the width of its type, and from there to 64 bits. */
	bits <<= site->arg_bitshift;
	*value = site->arg_signed ? (long)bits >> site->arg_bitshift :
				    (long)(bits >> site->arg_bitshift);
	return true;
}

/* Fetches the first `count` arguments. 0 if all could be. */
static __always_inline int fetch(struct pt_regs *ctx, long *values, __u32 count)
{
	int id = __bpf_usdt_spec_id(ctx);
	struct __bpf_usdt_spec *site = bpf_map_lookup_elem(&__bpf_usdt_specs, &id);

	if (!site || site->arg_cnt < (short)count)
		return -1;
	for (__u32 i = 0; i < ARGUMENTS_MAX; i++)
		if (i < count && !read_argument(ctx, &site->args[i], &values[i]))
			return -1;
	return 0;
}

#endif
