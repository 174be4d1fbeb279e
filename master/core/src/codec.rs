//! The small encoding that log records and checkpoints share: varints, little-endian, length before bytes.
//!
//! Reading is total: any bytes give a value or an error, nothing is allocated beyond what the input holds.

/// Bytes that do not say what they should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("it ends early")]
    Short,
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    #[error("a number is not written in the shortest way, or is above 64 bits")]
    Number,
    #[error("a text is not UTF-8")]
    Text,
    #[error("{what} is {value}, which cannot be")]
    Value { what: &'static str, value: u64 },
}

/// Appends values to bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// Seven bits a byte, lowest first; the top bit says that more follow.
    pub(crate) fn num(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push((value & 0x7f) as u8);
    }

    /// A number as its signed difference to the one before, the sign in the lowest bit.
    pub(crate) fn step(&mut self, before: u64, value: u64) {
        let step = value.wrapping_sub(before);
        self.num(step << 1 ^ (step.cast_signed() >> 63).cast_unsigned());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.num(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Takes values from bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CodecError::Value { what: "a yes or no", value: other.into() }),
        }
    }

    pub(crate) fn num(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Number);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                return if shortest { Ok(value) } else { Err(CodecError::Number) };
            }
        }
        Err(CodecError::Number)
    }

    /// A number that was written as its difference to the one before.
    pub(crate) fn step(&mut self, before: u64) -> Result<u64, CodecError> {
        let step = self.num()?;
        let step = (step >> 1) ^ (step & 1).wrapping_neg();
        Ok(before.wrapping_add(step))
    }

    /// A number of at most `max`.
    pub(crate) fn num_to(&mut self, what: &'static str, max: u64) -> Result<u64, CodecError> {
        let value = self.num()?;
        if value > max { Err(CodecError::Value { what, value }) } else { Ok(value) }
    }

    /// A number of at most 32 bits.
    pub(crate) fn u32_num(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.num()?).map_err(|_| CodecError::Number)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many of something follow; each takes at least one byte, so no count can be above what is left.
    pub(crate) fn count(&mut self) -> Result<usize, CodecError> {
        let value = self.num()?;
        usize::try_from(value)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or(CodecError::Short)
    }

    pub(crate) fn byte_to(&mut self, what: &'static str, max: u8) -> Result<u8, CodecError> {
        let value = self.u8()?;
        if value > max {
            return Err(CodecError::Value { what, value: value.into() });
        }
        Ok(value)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, CodecError> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn text(&mut self, what: &'static str, max: usize) -> Result<&'a str, CodecError> {
        let count = self.count()?;
        if count > max {
            return Err(CodecError::Value { what, value: count as u64 });
        }
        std::str::from_utf8(self.take(count)?).map_err(|_| CodecError::Text)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let count = self.count()?;
        self.take(count)
    }

    pub(crate) fn end(self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(CodecError::Trailing(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_one_form() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let mut writer = Writer::default();
            writer.num(value);
            let mut reader = Reader::new(&writer.bytes);
            assert_eq!(reader.num(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
        assert_eq!(Reader::new(&[0x80, 0]).num(), Err(CodecError::Number));
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(Reader::new(&too_large).num(), Err(CodecError::Number));
        assert_eq!(Reader::new(&[0xff; 11]).num(), Err(CodecError::Number));
        assert_eq!(Reader::new(&[0x80]).num(), Err(CodecError::Short));
    }

    #[test]
    fn steps_come_back() {
        for (before, value) in
            [(0, 0), (9, 8), (0, u64::MAX), (u64::MAX, 0), (1 << 63, 0), (5, 1 << 63)]
        {
            let mut writer = Writer::default();
            writer.step(before, value);
            assert_eq!(Reader::new(&writer.bytes).step(before), Ok(value));
        }
        let mut near = Writer::default();
        near.step(1_000_000, 999_999);
        assert_eq!(near.bytes, [1]);
    }

    #[test]
    fn a_count_above_what_follows_is_refused() {
        assert_eq!(Reader::new(&[3, 0, 0]).count(), Err(CodecError::Short));
        assert_eq!(Reader::new(&[2, 0, 0]).count(), Ok(2));
        assert!(Reader::new(&[2, b'a', b'b']).text("name", 1).is_err());
        assert_eq!(Reader::new(&[2, b'a', b'b']).text("name", 2), Ok("ab"));
        assert_eq!(Reader::new(&[1, 0xff]).text("name", 9), Err(CodecError::Text));
    }
}
