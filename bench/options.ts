/** The command line of `npm run bench`. */
import { parseArgs } from "node:util";

/** What is to be measured. */
export interface Options {
  workloads: Workload[];
  /** Records in the store, for `point`. */
  records: number[];
  /** Sizes of values in bytes, for `point`. */
  values: number[];
  rounds: number;
  stores: string[];
  /** Records that `growth` inserts. */
  growth: number;
  /** Records of 1 KiB that `larger` reads under a cache of a sixteenth of them. */
  larger: number;
  /** Records that `long` overwrites ten times over. */
  long: number;
  /** Records in the stores that `start` opens. */
  start: number[];
  /** Where results go. */
  out: string;
  /** Where stores are kept while they are measured: on the file system that is measured. */
  folder: string;
}

/** Every workload. */
export const WORKLOADS = [
  "point",
  "durable",
  "growth",
  "writes",
  "compression",
  "larger",
  "long",
  "runtimes",
  "start",
  "transactions",
  "backup",
  "wire",
] as const;
export type Workload = (typeof WORKLOADS)[number];

/** What is printed for `--help`, and with a mistake. */
export const USAGE = `npm run bench -- <workload> [options]

  point    get, set, delete, getMany, scans: operations a CPU second, and percentiles of single calls
  durable  writes that are awaited, alone, together and in batches, beside the raw cost of an append and sync
  growth   the longest single set while a store grows
  writes   increments, expiries and conditions on hot keys
  compression
           set and get of JSON values of 1 and 4 KiB, as they are and compressed
  runtimes get, set and cold reads on Node, Bun, Deno and in Chromium; and there beside IndexedDB and SQLite
  long     overwrites at 70 % fill for ten times the data: write and space amplification, throughput, pauses
  larger   reads of data larger than memory, beside the runtime's own reads of the same file
  transactions
           transactions, snapshots and the first entry of an iterator
  start    opening after a close and after a kill
  backup   backup and restore of an open store, beside a plain copy of its file
  wire     the server over loopback on Node, Bun and Deno, beside the runtime's own HTTP server
  all      all of them

  --records 10k,100k,1M   records in the store (point); 10M is possible and takes long
  --value 16,100,1024     sizes of values in bytes (default 100)
  --rounds 3              rounds of everything
  --peers lmdb,classic-level,map
                          what to measure beside Cairn; "none" for none
  --growth 2M             records that growth inserts
  --larger 1M             records of 1 KiB that larger reads; 4M is 4 GiB under 256 MiB
  --long 1M               records that long overwrites ten times over
  --start 100k,1M         records in the stores that start opens; 10M needs 4 GB of disk
  --out DIR               where the results go (default bench/results)
  --data DIR              where stores are kept meanwhile (default ./bench-data), on the file system to be measured`;

/** Reads the arguments after the program's name. Throws an `Error` that says what is wrong. */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      records: { type: "string", default: "10k,100k,1M" },
      value: { type: "string", default: "100" },
      rounds: { type: "string", default: "3" },
      peers: { type: "string", default: "lmdb,classic-level,map" },
      growth: { type: "string", default: "2M" },
      larger: { type: "string", default: "1M" },
      long: { type: "string", default: "1M" },
      start: { type: "string", default: "100k,1M" },
      out: { type: "string", default: "bench/results" },
      data: { type: "string", default: "bench-data" },
    },
  });
  const peers = values.peers === "none" ? [] : list(values.peers);
  return {
    workloads: workloadsOf(positionals),
    records: list(values.records).map(countOf),
    values: list(values.value).map(countOf),
    rounds: countOf(values.rounds),
    stores: ["cairn", ...peers.filter((name) => name !== "cairn")],
    growth: countOf(values.growth),
    larger: countOf(values.larger),
    long: countOf(values.long),
    start: list(values.start).map(countOf),
    out: values.out,
    folder: values.data,
  };
}

/** A count with an optional `k` or `M`: `10k` is 10,000. */
export function countOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text.trim());
  const count = match === null ? 0 : Number(match[1]) * (match[2] === "k" ? 1e3 : match[2] === "M" ? 1e6 : 1);
  if (count < 1 || !Number.isInteger(count)) throw new Error(`"${text}" is no count; write 10000, 10k or 1M`);
  return count;
}

function list(text: string): string[] {
  const items = text.split(",").map((item) => item.trim());
  return items.filter((item, index) => item !== "" && items.indexOf(item) === index);
}

function workloadsOf(names: string[]): Workload[] {
  if (names.length === 0) throw new Error(`which workload? One of ${WORKLOADS.join(", ")}, all`);
  if (names.includes("all")) return [...WORKLOADS];
  return names.map((name) => {
    const workload = WORKLOADS.find((other) => other === name);
    if (workload === undefined) throw new Error(`there is no workload "${name}"`);
    return workload;
  });
}
