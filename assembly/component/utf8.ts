/** Whether bytes are UTF-8, so that the canonical ABI can take them for a string: it traps at any other. */

/** No overlong form, no surrogate, nothing above U+10FFFF. */
export function utf8Valid(at: usize, size: u32): bool {
  const end = at + size;
  while (at < end) {
    const lead = <u32>load<u8>(at++);
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    const more: u32 = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (<usize>more > end - at) return false;
    const second = <u32>load<u8>(at);
    let least: u32 = 0x80;
    let most: u32 = 0xbf;
    if (lead == 0xe0) least = 0xa0;
    else if (lead == 0xed) most = 0x9f;
    else if (lead == 0xf0) least = 0x90;
    else if (lead == 0xf4) most = 0x8f;
    if (second < least || second > most) return false;
    for (let i: u32 = 1; i < more; i++) {
      if ((load<u8>(at + i) & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}
