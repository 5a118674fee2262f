//! Whole numbers in as many bytes as they need, seven bits to a byte.

/// Appends `value` as ULEB128.
pub(super) fn push(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// Appends `value`, with numbers near zero short on both sides of it.
pub(super) fn push_zigzag(value: i64, to: &mut Vec<u8>) {
    push((value << 1 ^ value >> 63).cast_unsigned(), to);
}

#[cfg(test)]
mod tests {
    use super::{push, push_zigzag};

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let mut bytes = Vec::new();
        push(0x7f, &mut bytes);
        push(0x80, &mut bytes);
        push_zigzag(-1, &mut bytes);
        push_zigzag(1, &mut bytes);
        assert_eq!(bytes, [0x7f, 0x80, 0x01, 1, 2]);
        bytes.clear();
        push_zigzag(i64::MIN, &mut bytes);
        assert_eq!(bytes, [[0xff; 9].as_slice(), &[1]].concat());
    }
}
