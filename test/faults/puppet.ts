/** A store in another process, call by call. */
import type { RuntimeName } from "../runtime.ts";
import { bundleChild, Child, commandIn } from "./children.ts";

/** What a call came to: `done`, or the code of the error. */
export interface Answer {
  type: "answer";
  id: number;
  code: string;
  message?: string;
  /** The code of the error's cause. */
  cause?: string;
  result?: unknown;
}

/** A process that has a store, or is to open one. */
export class Puppet extends Child<Answer> {
  private count = 0;

  /** Starts one. Its thread pool has one thread, where the runtime listens to that. */
  static async start(root: string, runtime: RuntimeName): Promise<Puppet> {
    const found = commandIn(root, runtime);
    if (found === undefined) throw new Error(`${runtime} is not installed`);
    const file = await bundleChild(root, "puppet-child", runtime);
    // A file that meets its limit of size is an error, no signal.
    const args = ["-c", 'trap "" XFSZ; exec "$0" "$@"', found.command, ...found.args, file];
    return new Puppet({ command: "sh", args }, { UV_THREADPOOL_SIZE: "1" });
  }

  /** Makes a call. Rejects when the process ends before it has answered. */
  call(call: string, ...args: unknown[]): Promise<Answer> {
    const id = this.count++;
    this.send({ id, call, args });
    return this.heardOf((saying): saying is Answer => saying.id === id);
  }

  /** Makes a call and returns its result. Rejects when it failed. */
  async do(call: string, ...args: unknown[]): Promise<unknown> {
    const { code, message, result } = await this.call(call, ...args);
    if (code !== "done") throw new Error(`${call}: ${code} ${message}`);
    return result;
  }

  /** Lets the process end by itself: its store is left as it is. */
  async quit(): Promise<void> {
    this.process.stdin?.end();
    await this.ended;
  }
}
