/**
 * What the component asks of WASI beside what the engine does (assembly/device/imports.ts), and the intrinsics of the
 * canonical ABI for the resources that it exports. Calls at the core-module level; results go to a return area:
 * discriminant u8 at 0 (0 done, 1 failed), then the value or the `error-code` at 4, or at 1 where there is no value.
 */

/** list<tuple<own<descriptor>, string>>: 0 pointer, 4 count; an element is 12 bytes: handle, pointer, size. */
// @ts-ignore: decorator
@external("wasi:filesystem/preopens@0.2.12", "get-directories")
export declare function getDirectories(result: usize): void;

/** result<own<descriptor>, error-code>: handle u32 at 4; the error code at 4. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.open-at")
export declare function descriptorOpenAt(folder: u32, pathFlags: u32, path: usize, pathSize: u32, openFlags: u32, flags: u32, result: usize): void;

/** result<_, error-code>: the error code at 1. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.rename-at")
export declare function descriptorRenameAt(folder: u32, path: usize, pathSize: u32, newFolder: u32, newPath: usize, newPathSize: u32, result: usize): void;

/** result<_, error-code>: the error code at 1. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.unlink-file-at")
export declare function descriptorUnlinkFileAt(folder: u32, path: usize, pathSize: u32, result: usize): void;

/** result<_, error-code>: the error code at 1. */
// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[method]descriptor.sync")
export declare function descriptorSync(handle: u32, result: usize): void;

// @ts-ignore: decorator
@external("wasi:filesystem/types@0.2.12", "[resource-drop]descriptor")
export declare function descriptorDrop(handle: u32): void;

/** A pollable that is ready after so many nanoseconds. */
// @ts-ignore: decorator
@external("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration")
export declare function subscribeDuration(nanoseconds: u64): u32;

// @ts-ignore: decorator
@external("wasi:io/poll@0.2.12", "[method]pollable.block")
export declare function pollableBlock(handle: u32): void;

// @ts-ignore: decorator
@external("wasi:io/poll@0.2.12", "[resource-drop]pollable")
export declare function pollableDrop(handle: u32): void;

/** A handle for a resource of ours, given what it stands for. */
// @ts-ignore: decorator
@external("[export]cairn:kv/store@0.1.0", "[resource-new]store")
export declare function storeHandle(serial: u32): u32;

// @ts-ignore: decorator
@external("[export]cairn:kv/store@0.1.0", "[resource-new]cursor")
export declare function cursorHandle(slot: usize): u32;

// @ts-ignore: decorator
@external("[export]wasi:keyvalue/store@0.2.0-draft2", "[resource-new]bucket")
export declare function bucketHandle(slot: usize): u32;

// @ts-ignore: decorator
@external("[export]wasi:keyvalue/atomics@0.2.0-draft2", "[resource-new]cas")
export declare function casHandle(slot: usize): u32;

/** What an owned handle of ours stands for. */
// @ts-ignore: decorator
@external("[export]wasi:keyvalue/atomics@0.2.0-draft2", "[resource-rep]cas")
export declare function casSlotOf(handle: u32): usize;

// @ts-ignore: decorator
@external("[export]wasi:keyvalue/atomics@0.2.0-draft2", "[resource-drop]cas")
export declare function casDrop(handle: u32): void;
