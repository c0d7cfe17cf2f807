/**
 * Loop devices and mounts of these tests' own. Whatever was made is taken down again, in the reverse order, also when a
 * test fails. Needs root and Linux, and imports no test runner: programs use it, too.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const MIB = 1_048_576;

/** Why none of this can be tried here; `undefined` when it may be. */
export function privilegeMissing(): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  return undefined;
}

/** A tool cannot be run, or refuses: the machine, not the store, is at fault. */
export class MachineRefusal extends Error {}

/** Runs a tool of the system and returns what it printed. Throws a `MachineRefusal`. */
export function tool(name: string, ...args: string[]): string {
  const path = `${process.env["PATH"]}:/usr/sbin:/sbin`;
  const { status, stdout, stderr, error } = spawnSync(name, args, {
    encoding: "utf8",
    env: { ...process.env, PATH: path },
  });
  if (status === 0) return stdout.trim();
  const reason = error !== undefined && "code" in error && error.code === "ENOENT" ? "is not installed" : stderr.trim();
  throw new MachineRefusal(`${name} ${args.join(" ")}: ${reason || error?.message}`);
}

/** Why `work` cannot be done on this machine; `undefined` when it was done. Other errors are thrown. */
export function refusalOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof MachineRefusal) return error.message;
    throw error;
  }
}

export type FileSystem = "ext4" | "xfs" | "btrfs" | "tmpfs";

const MAKERS: Record<Exclude<FileSystem, "tmpfs">, string[]> = {
  ext4: ["mkfs.ext4", "-q", "-F", "-m", "0"],
  xfs: ["mkfs.xfs", "-q", "-f"],
  btrfs: ["mkfs.btrfs", "-q", "-f", "--mixed"],
};

/** What a test has made of the machine. */
export class Machine {
  private made: string | undefined;
  private undo: { name: string; done: () => void }[] = [];
  private count = 0;

  /** Where images and mount points lie. */
  get folder(): string {
    this.made ??= fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "cairn-faults-")));
    return this.made;
  }

  /** A path that nobody has used. */
  path(name: string): string {
    return join(this.folder, `${name}-${this.count++}`);
  }

  /** A loop device over a new sparse image of `size` bytes in `folder`. */
  loop(size: number, folder = this.folder): { loop: string; image: string } {
    const image = join(folder, `image-${this.count++}`);
    fs.writeFileSync(image, "");
    fs.truncateSync(image, size);
    return { loop: this.attach(image), image };
  }

  /** A loop device over an image. */
  attach(image: string): string {
    const loop = tool("losetup", "-f", "--show", image);
    this.undo.push({ name: loop, done: () => void tool("losetup", "-d", loop) });
    return loop;
  }

  /** A new file system of `size` bytes, mounted: its mount point, and the loop device beneath. */
  newMount(kind: FileSystem, size: number): { point: string; loop: string } {
    const point = join(this.folder, `${kind}-${this.count++}`);
    fs.mkdirSync(point);
    if (kind === "tmpfs") {
      this.mount(point, "-t", "tmpfs", "-o", `size=${size}`, "none");
      return { point, loop: "" };
    }
    const { loop } = this.loop(size);
    const [maker, ...args] = MAKERS[kind] as [string, ...string[]];
    tool(maker, ...args, loop);
    this.mount(point, "-t", kind, loop);
    return { point, loop };
  }

  /** Mounts what `args` say at `point`. */
  mount(point: string, ...args: string[]): void {
    tool("mount", ...args, point);
    const done = (): void => {
      // A test that failed may have left a file open there: then it goes when that is closed.
      if (refusalOf(() => void tool("umount", point)) !== undefined) tool("umount", "--lazy", point);
    };
    this.undo.push({ name: point, done });
  }

  /** Takes down one mount or loop device. */
  remove(name: string): void {
    const index = this.undo.findLastIndex((entry) => entry.name === name);
    if (index < 0) throw new Error(`${name} is none of ours`);
    const [entry] = this.undo.splice(index, 1);
    entry?.done();
  }

  /** Takes down everything, the newest first, and removes the folder. What refuses is left, and said. */
  end(): void {
    const left: string[] = [];
    for (const { done } of this.undo.splice(0).reverse()) {
      const refusal = refusalOf(done);
      if (refusal !== undefined) left.push(refusal);
    }
    if (left.length > 0) console.error(`left behind: ${left.join("; ")}`);
    else if (this.made !== undefined) fs.rmSync(this.made, { recursive: true, force: true });
  }
}

/** Bytes of each file that a full file system can do without. */
const SPARE_SIZE = MIB / 2;

/**
 * Fills the file system of a folder until it takes no byte more. Returns what gives room back, some files of half a MiB at a time:
 * whether there were any left. A file would not do: btrfs has not even the room to cut one.
 */
export function fillUp(folder: string, spareCount = 0): (count: number) => boolean {
  const spares = Array.from({ length: spareCount }, (_, i) => join(folder, `spare-${i}`));
  for (const spare of spares) fs.writeFileSync(spare, new Uint8Array(SPARE_SIZE), { flush: true });
  const path = join(folder, "filler");
  const file = fs.openSync(path, "a");
  try {
    const { bavail, bsize } = fs.statfsSync(path);
    // The greater part is given without being written.
    refusalOf(() => void tool("fallocate", "-l", String(Math.floor(bavail * bsize * 0.9)), path));
    for (let size = 65_536; size >= 4096; ) {
      try {
        if (fs.writeSync(file, new Uint8Array(size)) < size) size = 4096;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size /= 4;
      }
    }
    try {
      fs.fsyncSync(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  } finally {
    fs.closeSync(file);
  }
  return (count) => {
    const freed = spares.splice(0, count);
    for (const spare of freed) fs.unlinkSync(spare);
    const folderFile = fs.openSync(folder, "r");
    fs.fsyncSync(folderFile);
    fs.closeSync(folderFile);
    return freed.length > 0;
  };
}

/** Shuts a mounted ext4 or xfs down at once, as a power cut would: nothing that it still holds is written. */
export function shutDown(point: string): void {
  // FS_IOC_GOINGDOWN, without a flush of the log. Perl is part of every Debian; xfs_io knows the call as well.
  const [request, withoutFlush] = [0x8004587d, 2];
  const script = "open(F,'<',$ARGV[0]) or die $!; defined(ioctl(F,$ARGV[1],pack('L',$ARGV[2]))) or die $!";
  const refusal = refusalOf(() => void tool("perl", "-e", script, point, String(request), String(withoutFlush)));
  if (refusal === undefined) return;
  if (refusalOf(() => void tool("xfs_io", "-x", "-c", "shutdown", point)) !== undefined) {
    throw new MachineRefusal(`needs perl or xfs_io (${refusal})`);
  }
}
