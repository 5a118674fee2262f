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

/*
 * The register at `offset` in struct pt_regs. The verifier allows only constant offsets
 * here, and to choose one takes a fraction of what a helper takes that allows others.
 */
#if defined(__TARGET_ARCH_x86)
#define REGISTER(name)                                                         \
	case offsetof(struct pt_regs, name):                                   \
		/* In C the compiler makes one load at any offset of all of them. */ \
		asm volatile("%0 = *(u64 *)(%1 + %2)"                          \
			     : "=r"(value)                                     \
			     : "r"(ctx), "i"(offsetof(struct pt_regs, name))); \
		break

static __noinline __u64 register_at(struct pt_regs *ctx, __u32 offset)
{
	__u64 value = 0;	/* no other register holds an argument */

	switch (offset) {
	REGISTER(ax);
	REGISTER(bx);
	REGISTER(cx);
	REGISTER(dx);
	REGISTER(si);
	REGISTER(di);
	REGISTER(bp);
	REGISTER(sp);
	REGISTER(r8);
	REGISTER(r9);
	REGISTER(r10);
	REGISTER(r11);
	REGISTER(r12);
	REGISTER(r13);
	REGISTER(r14);
	REGISTER(r15);
	}
	return value;
}
#else
static __always_inline __u64 register_at(struct pt_regs *ctx, __u32 offset)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + offset);
	return value;
}
#endif

static __always_inline bool read_argument(struct pt_regs *ctx, struct __bpf_usdt_arg_spec *site,
					  long *value)
{
	__u64 bits = site->val_off, address, index = 0;

	switch (site->arg_type) {
	case BPF_USDT_ARG_CONST:
		break;
	case BPF_USDT_ARG_REG:
		bits = register_at(ctx, site->reg_off);
		break;
	case BPF_USDT_ARG_SIB:
		index = register_at(ctx, site->idx_reg_off) << site->scale_bitshift;
		/* fall through */
	case BPF_USDT_ARG_REG_DEREF:
		address = register_at(ctx, site->reg_off);
		if (bpf_probe_read_user(&bits, sizeof(bits),
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
