//! The address that gets the fees of a proposed block. A public one: there is no key in it.

use std::{fmt, str::FromStr};

/// 20 bytes, written with the upper and lower case of EIP-55.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRecipient([u8; 20]);

/// Why a text is not a [`FeeRecipient`]. It does not repeat the text: somebody may have pasted a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeeRecipient {
    #[error("is not 0x and 40 hexadecimal digits: write the address, never a key")]
    Form,
    #[error("does not have the upper and lower case of its checksum (EIP-55), so a letter may be wrong: copy it again")]
    Checksum,
    #[error("is the address of nobody (zero), where everything is lost: write your own")]
    Nobody,
}

impl FromStr for FeeRecipient {
    type Err = BadFeeRecipient;
    fn from_str(text: &str) -> Result<Self, BadFeeRecipient> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40).ok_or(BadFeeRecipient::Form)?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) = (digit(pair[0]), digit(pair[1]));
            *byte = high.ok_or(BadFeeRecipient::Form)? << 4 | low.ok_or(BadFeeRecipient::Form)?;
        }
        let address = Self(bytes);
        let mixed =
            digits.contains(|c: char| c.is_ascii_uppercase()) && digits.contains(|c: char| c.is_ascii_lowercase());
        if bytes == [0; 20] {
            Err(BadFeeRecipient::Nobody)
        } else if mixed && address.to_string() != text {
            Err(BadFeeRecipient::Checksum)
        } else {
            Ok(address)
        }
    }
}

impl fmt::Display for FeeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = keccak_256_of_one_block(digits.as_bytes());
        f.write_str("0x")?;
        for (index, c) in digits.chars().enumerate() {
            let nibble = hash[index / 2] >> (4 * (1 - index % 2)) & 0xf;
            write!(f, "{}", if nibble >= 8 { c.to_ascii_uppercase() } else { c })?;
        }
        Ok(())
    }
}

/// Bytes of a block of Keccak-256.
const RATE: usize = 136;

/// Keccak-256 as Ethereum has it, of less than one block: all that the checksum of an address needs.
fn keccak_256_of_one_block(input: &[u8]) -> [u8; 32] {
    assert!(input.len() < RATE, "an address has 40 digits");
    let mut block = [0; RATE];
    block[..input.len()].copy_from_slice(input);
    block[input.len()] ^= 0x01;
    block[RATE - 1] ^= 0x80;
    let mut lanes = [0_u64; 25];
    for (lane, bytes) in lanes.iter_mut().zip(block.chunks_exact(8)) {
        *lane = bytes.iter().rev().fold(0, |lane, byte| lane << 8 | u64::from(*byte));
    }
    keccak_f_1600(&mut lanes);
    let mut hash = [0; 32];
    for (bytes, lane) in hash.chunks_exact_mut(8).zip(lanes) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    hash
}

/// The permutation of FIPS 202, 3.2 and 3.3; lane (x, y) is at `x + 5 y`.
fn keccak_f_1600(lanes: &mut [u64; 25]) {
    let mut register: u8 = 1;
    for _ in 0..24 {
        // Theta.
        let mut columns = [0; 5];
        for (at, lane) in lanes.iter().enumerate() {
            columns[at % 5] ^= lane;
        }
        for (at, lane) in lanes.iter_mut().enumerate() {
            *lane ^= columns[(at + 4) % 5] ^ columns[(at + 1) % 5].rotate_left(1);
        }
        // Rho and pi, along the one path that they take.
        let (mut x, mut y, mut moved) = (1, 0, lanes[1]);
        for step in 0..24_u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            moved = std::mem::replace(&mut lanes[x + 5 * y], moved.rotate_left((step + 1) * (step + 2) / 2 % 64));
        }
        // Chi.
        for row in lanes.chunks_exact_mut(5) {
            let before = [row[0], row[1], row[2], row[3], row[4]];
            for (at, lane) in row.iter_mut().enumerate() {
                *lane ^= !before[(at + 1) % 5] & before[(at + 2) % 5];
            }
        }
        // Iota: its constants are bits of a shift register.
        for bit in 0..7 {
            lanes[0] ^= u64::from(register & 1) << ((1_u32 << bit) - 1);
            register = register << 1 ^ if register & 0x80 == 0 { 0 } else { 0x71 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_hash_is_ethereums() {
        let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(hex(&keccak_256_of_one_block(b"")), empty);
        let hello = "1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8";
        assert_eq!(hex(&keccak_256_of_one_block(b"hello")), hello);
    }

    /// The examples of EIP-55.
    #[test]
    fn an_address_of_mixed_case_has_its_checksum_or_is_refused() {
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
        ] {
            assert_eq!(text.parse::<FeeRecipient>().unwrap().to_string(), text);
            let digits = &text[2..];
            for written in [digits.to_lowercase(), digits.to_uppercase()] {
                assert_eq!(format!("0x{written}").parse::<FeeRecipient>().unwrap().to_string(), text);
            }
        }
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed";
        assert_eq!(wrong.parse::<FeeRecipient>(), Err(BadFeeRecipient::Checksum));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "0x", &"ab".repeat(20), &format!("0x{}", "ab".repeat(32)), &format!("0x{}", "é".repeat(20))] {
            assert_eq!(bad.parse::<FeeRecipient>(), Err(BadFeeRecipient::Form), "{bad}");
        }
        assert_eq!(format!("0x{}", "zz".repeat(20)).parse::<FeeRecipient>(), Err(BadFeeRecipient::Form));
        assert_eq!(format!("0x{}", "00".repeat(20)).parse::<FeeRecipient>(), Err(BadFeeRecipient::Nobody));
    }
}
