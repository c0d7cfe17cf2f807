/**
 * All that the core asks of its host: WASI 0.2 calls at the core-module level (the lowered form of the canonical
 * ABI), so that the same binary runs under a thin JavaScript host and, wrapped, as a component. Nothing else is
 * imported, and nothing is imported elsewhere.
 *
 * Each call writes its result into a return area: a discriminant byte (0 done, 1 failed), then the value or the
 * error code, an index into the `error-code` enumeration of `wasi:filesystem/types`.
 */

/** result<tuple<list<u8>, bool>, error-code>: 4 pointer, 8 size, 12 end of file; the error code at 4. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.read")
export declare function descriptorRead(handle: u32, size: u64, offset: u64, result: usize): void;

/** result<u64, error-code>: 8 bytes written; the error code at 8. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.write")
export declare function descriptorWrite(handle: u32, source: usize, size: u32, offset: u64, result: usize): void;

/** result<_, error-code>: the error code at 1. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.sync-data")
export declare function descriptorSyncData(handle: u32, result: usize): void;

/** result<descriptor-stat, error-code>: 24 size in bytes; the error code at 8. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.stat")
export declare function descriptorStat(handle: u32, result: usize): void;

/** result<_, error-code>: the error code at 1. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.set-size")
export declare function descriptorSetSize(handle: u32, size: u64, result: usize): void;

/** datetime: 0 u64 seconds since 1970, 8 u32 nanoseconds. */
// @ts-ignore: decorator
@external("wasi:clocks/wall-clock@0.2.12", "now")
export declare function wallClockNow(result: usize): void;

/** Nanoseconds since an arbitrary start. */
// @ts-ignore: decorator
@external("wasi:clocks/monotonic-clock@0.2.12", "now")
export declare function monotonicClockNow(): u64;

/** 64 unpredictable bits. */
// @ts-ignore: decorator
@external("wasi:random/random@0.2.12", "get-random-u64")
export declare function randomU64(): u64;
