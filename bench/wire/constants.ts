/** Records that are served: `key-0` and on. */
export const RECORD_COUNT = 1000;
/** RIOC asks for those from here on: their keys are of one size. */
export const RIOC_FIRST = 100;
/** Bytes of a `GET` over RIOC as a request of its own, and of its reply. */
export const RIOC_GET_SIZE = 12 + 16 + 7;
export const RIOC_REPLY_SIZE = 8 + 100;
/** Operations of a batch. */
export const RIOC_BATCH = 16;
