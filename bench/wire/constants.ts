/** Records that are served: `key-0` and on. */
export const RECORD_COUNT = 1000;
