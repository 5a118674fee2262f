//! Packets of the binary protocol that are valid or nearly so, at random.

use super::random::Random;

/// A packet that the server takes for a request, if it comes to it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub opaque: u32,
    /// What of it should be told; empty for none.
    pub key: Vec<u8>,
    /// With what the server passes over after it.
    pub bytes: Vec<u8>,
    /// It may have no reply.
    pub quiet: bool,
}

/// Parts of a packet.
struct Parts {
    opcode: u8,
    opaque: u32,
    extras: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    cas: u64,
    /// So many bytes of the body are not told in its header.
    untold: usize,
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        let length = self.extras.len() + self.key.len() + self.value.len();
        let body = u32::try_from(length.saturating_sub(self.untold)).unwrap();
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend(u16::try_from(self.key.len()).unwrap().to_be_bytes());
        bytes.extend([u8::try_from(self.extras.len()).unwrap(), 0, 0, 0]);
        bytes.extend(body.to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        [&bytes[..], &self.extras, &self.key, &self.value].concat()
    }
}

fn parts(opcode: u8, opaque: u32, extras: Vec<u8>, key: Vec<u8>, value: Vec<u8>) -> Parts {
    Parts { opcode, opaque, extras, key, value, cas: 0, untold: 0 }
}

/// A get of `key`, which is not there.
pub fn end(opaque: u32, key: &[u8]) -> Vec<u8> {
    parts(0x00, opaque, Vec::new(), key.to_vec(), Vec::new()).bytes()
}

fn numbers(random: &mut Random, length: usize) -> Vec<u8> {
    let number = |random: &mut Random| match random.below(6) {
        0 => u32::MAX,
        1 => 1 << 31,
        2 => (1 << 31) - 1,
        _ => u32::try_from(random.below(200)).unwrap(),
    };
    (0..length / 4).flat_map(|_| number(random).to_be_bytes()).collect()
}

const STAT: u8 = 0x10;
/// With their quiet twins, and some that no release knows.
const OPCODES: [u8; 39] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, STAT,
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x18, 0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x22, 0x23,
    0x24, 0x25, 0x30, 0x3c, 0x47, 0x60, 0xff,
];

/// One packet, or one and another that stands where its value would.
pub fn packets(random: &mut Random, opaque: &mut u32) -> Vec<Packet> {
    let opcode = OPCODES[random.below(OPCODES.len())];
    let mut next = || {
        *opaque += 1;
        *opaque
    };
    let first = next();
    let extras = match opcode {
        0x01..=0x03 | 0x11..=0x13 => 8,
        0x05 | 0x06 | 0x15 | 0x16 => 20,
        0x1c..=0x1e | 0x23 | 0x24 => 4,
        _ => 0,
    };
    let keyless = matches!(opcode, 0x08 | 0x0a | 0x0b | 0x18 | 0x20);
    let stores = matches!(opcode, 0x01..=0x03 | 0x11..=0x13 | 0x0e | 0x0f | 0x19 | 0x1a);
    let key = match random.below(30) {
        _ if opcode == STAT => b"reset".to_vec(),
        _ if keyless => Vec::new(),
        0 => vec![b'k'; 250],
        1 => b"\0\r\n \xff".to_vec(),
        other => format!("p{}", other % 6).into_bytes(),
    };
    let value = if stores || matches!(opcode, 0x21 | 0x22) { random.below(12) } else { 0 };
    let extras = numbers(random, extras);
    let mut packet = parts(opcode, first, extras, key, vec![0x80; value]);
    if stores && random.chance(15) {
        packet.cas = random.next() % 50;
    }
    let mut follows = None;
    match random.below(60) {
        0 => packet.extras.push(0),
        1 => packet.extras.clear(),
        2 if opcode != STAT => packet.key.clear(),
        3 if opcode != STAT => packet.key = vec![b'k'; 251 + random.below(9)],
        4 if packet.value.is_empty() => packet.untold = 1,
        // These do not look at how long their body is: what is left of it is the next packet.
        5 if matches!(opcode, 0x1c..=0x1e | 0x23 | 0x24 | STAT) => {
            let opaque = next();
            packet.value = parts(0x0a, opaque, Vec::new(), Vec::new(), Vec::new()).bytes();
            follows = Some(opaque);
        }
        6 if !stores => packet.value = vec![0; 1 + random.below(9)],
        _ => {}
    }
    let told = !matches!(opcode, STAT | 0x21 | 0x22) && packet.key.len() <= 250;
    let key = if told { packet.key.clone() } else { Vec::new() };
    let mut bytes = packet.bytes();
    let mut packets = Vec::new();
    let quiet = matches!(opcode, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24);
    if let Some(opaque) = follows {
        let next = bytes.split_off(bytes.len() - packet.value.len());
        packets.push(Packet { opaque, key: Vec::new(), bytes: next, quiet: false });
    }
    // Of one that is not known all of the body is passed over, and once more what was read
    // with the header.
    if matches!(opcode, 0x25..) {
        let again = packet.extras.len() + packet.key.len();
        bytes.resize(bytes.len() + again, b'z');
        packets.insert(0, Packet { opaque: first, key: Vec::new(), bytes, quiet });
    } else {
        packets.insert(0, Packet { opaque: first, key, bytes, quiet });
    }
    packets
}
