/** Who holds a lock: what its file says, and whether that process and thread are still there. */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import { hostname } from "node:os";
import process from "node:process";
import { errnoOf } from "./positioned-io.ts";

/** What a lock file says about its holder, as JSON. */
export interface LockRecord {
  /** The mark of a lock file of ours, and its version. */
  cairnLock: 1;
  pid: number;
  /** Names the pid namespace, such as `pid:[4026531836]`; empty where the system has none. */
  pidNamespace: string;
  host: string;
  /** Changes with every start of the kernel; empty where the system has none. */
  bootId: string;
  /** When the process started, in ticks of the kernel since its boot; `null` where the system does not tell. */
  startTime: string | null;
  /** The thread that opened the store: the kernel's number of it, or 0. */
  thread: number;
  threadStartTime: string | null;
  /** 32 hexadecimal digits, drawn for this lock alone. */
  token: string;
  /**
   * 1 while the holder opens the store and does not know whether the one before it is dead: who takes over from it does not know
   * either. One digit, overwritten in place.
   */
  doubt?: number;
  /** Milliseconds between two heartbeats, which are the file's modification time. */
  heartbeatMs: number;
}

const DOUBT_MARK = '"doubt":';

/** `PF_EXITING` of Linux: the process is on its way out. */
const FLAG_EXITING = 0x4;

/** A lock file's record; `undefined` when the content is none. */
export function parseRecord(content: string): LockRecord | undefined {
  let record: Partial<LockRecord> | null;
  try {
    record = JSON.parse(content);
  } catch {
    return undefined;
  }
  if (typeof record !== "object" || record === null || record.cairnLock !== 1) return undefined;
  const { pid, token } = record;
  if (!Number.isSafeInteger(pid) || (pid as number) <= 0) return undefined;
  if (typeof token !== "string" || !/^[0-9a-f]{32}$/.test(token)) return undefined;
  return record as LockRecord;
}

/** What the file of a lock says. */
export function textOf(record: LockRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** Where in that the digit of `doubt` lies, in bytes. */
export function doubtOffset(record: LockRecord): number {
  const [before = ""] = textOf(record).split(DOUBT_MARK);
  return Buffer.byteLength(before + DOUBT_MARK);
}

/**
 * Whether the process and the thread that the lock of `path` names are there. A process that cannot name its namespace
 * (Deno, unless it runs with `--allow-all`) is `"elsewhere"`, but surely alive when it has the lock file open here.
 */
export function holderState(record: LockRecord, path: string): "alive" | "dead" | "dying" | "elsewhere" {
  const self = describeProcess();
  if (record.pidNamespace === "" && process.platform === "linux") {
    return self.pidNamespace !== "" && hasOpen(record.pid, path) ? "alive" : "elsewhere";
  }
  if (record.bootId !== self.bootId || record.pidNamespace !== self.pidNamespace) return "elsewhere";
  if (self.bootId === "" && record.host !== self.host) return "elsewhere";
  if (!processExists(record.pid)) return "dead";
  if (typeof record.startTime !== "string" || self.startTime === null) return "elsewhere";
  const folder = `/proc/${record.pid}`;
  const leader = readTask(folder);
  if (leader === undefined) return processExists(record.pid) ? "alive" : "dead";
  if (leader.startTime !== record.startTime) return "dead";
  if (leader.hasEnded) return hasLiveThread(folder) ? "dying" : "dead";
  if (leader.isEnding || isKilled(folder)) return "dying";
  if (record.thread === record.pid || !record.thread) return "alive";
  const thread = readTask(`${folder}/task/${record.thread}`);
  if (thread !== undefined && thread.startTime === record.threadStartTime && !thread.hasEnded) return "alive";
  return fs.existsSync(`${folder}/task`) ? "dead" : "alive";
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) !== "ESRCH";
  }
}

/** Whether the process that has this pid in our namespace has the file of `path` open, under whatever name. */
function hasOpen(pid: number, path: string): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    const { dev, ino } = fs.statSync(path);
    return fs.readdirSync(folder).some((descriptor) => {
      const stat = fs.statSync(`${folder}/${descriptor}`, { throwIfNoEntry: false });
      return stat?.dev === dev && stat.ino === ino;
    });
  } catch {
    return false;
  }
}

function hasLiveThread(folder: string): boolean {
  try {
    return fs.readdirSync(`${folder}/task`).some((thread) => readTask(`${folder}/task/${thread}`)?.hasEnded === false);
  } catch {
    return false;
  }
}

/**
 * State, flags and start time of a process or thread: fields 3, 9 and 22 of its `stat`; field 2 is a name in parentheses.
 */
function readTask(folder: string): { hasEnded: boolean; isEnding: boolean; startTime: string } | undefined {
  try {
    const stat = fs.readFileSync(`${folder}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      hasEnded: /^[ZXx]$/.test(fields[0] as string),
      isEnding: (Number(fields[6]) & FLAG_EXITING) !== 0,
      startTime: fields[19] as string,
    };
  } catch {
    return undefined;
  }
}

/** Whether SIGKILL was sent to a process that has not come round to ending yet. */
function isKilled(folder: string): boolean {
  const pending = /^(?:SigPnd|ShdPnd):\s*[0-9a-f]*[13579bdf][0-9a-f]{2}$/m;
  return pending.test(contentOf(`${folder}/status`));
}

/** What a lock file says of a process. */
export type ProcessRecord = Omit<LockRecord, "token" | "heartbeatMs" | "doubt">;

let processRecord: ProcessRecord | undefined;

/** This process and thread, as their lock files name them. */
export function describeProcess(): ProcessRecord {
  if (processRecord?.pid === process.pid) return processRecord;
  const thread = Number(/task\/(\d+)$/.exec(linkOf("/proc/thread-self"))?.[1] ?? 0);
  processRecord = {
    cairnLock: 1,
    pid: process.pid,
    pidNamespace: linkOf("/proc/self/ns/pid"),
    host: hostName(),
    bootId: contentOf("/proc/sys/kernel/random/boot_id"),
    startTime: readTask("/proc/self")?.startTime ?? null,
    thread,
    threadStartTime: readTask(`/proc/self/task/${thread}`)?.startTime ?? null,
  };
  return processRecord;
}

/** Deno asks for a permission of its own here, which is not worth failing for. */
function hostName(): string {
  try {
    return hostname();
  } catch {
    return "";
  }
}

function linkOf(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return "";
  }
}

function contentOf(path: string): string {
  try {
    return fs.readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}
