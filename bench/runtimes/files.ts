/**
 * The probe on Node, Bun or Deno, over real files: a program of its own, so that each runtime runs it. Arguments: the
 * runtime's name, an empty folder, the counts of records. Prints the figures as JSON.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type ProbedStore, probe, type World } from "./probe.ts";

type Open = typeof import("../../hosts/node.ts").open;

async function openOf(runtime: string): Promise<Open> {
  switch (runtime) {
    case "bun":
      return (await import("../../hosts/bun.ts")).open as Open;
    case "deno":
      return (await import("../../hosts/deno.ts")).open as Open;
    default:
      return (await import("../../hosts/node.ts")).open;
  }
}

const [runtime = "node", folder = ".", records = "100000", coldRecords = "20000"] = process.argv.slice(2);
const open = await openOf(runtime);
const pathOf = (name: string): string => join(folder, `${name}.cairn`);

const world: World = {
  openText: (name) => open(pathOf(name)) as Promise<ProbedStore<string>>,
  openBytes: (name, cacheBytes) =>
    open(pathOf(name), { cacheBytes, valueEncoding: "binary" }) as Promise<ProbedStore<Uint8Array>>,
  async openBare(name) {
    const descriptor = fs.openSync(pathOf(name), "r");
    return {
      size: fs.fstatSync(descriptor).size,
      read: (target, offset) => fs.readSync(descriptor, target, 0, target.length, offset),
      close: () => fs.closeSync(descriptor),
    };
  },
};

const figures = await probe(world, { records: Number(records), coldRecords: Number(coldRecords) });
console.log(JSON.stringify(figures));
