/** What a browser's dedicated worker brings to opening: the origin private file system, and the binary by `fetch`. */
import { CairnError } from "../store/error.ts";
import { browserText } from "./browser-text.ts";
import { builtinText } from "./builtin-text.ts";
import type { Runtime } from "./opening.ts";
import { reasonOf } from "./opfs-device.ts";
import { opfsSwap } from "./opfs-swap.ts";
import { openOpfs } from "./opfs-target.ts";

/** The memory of a store in a browser, unless the program says otherwise. */
export const MEMORY_BYTES_DEFAULT = 512 * 1024 * 1024;

/**
 * The runtime of a worker. For `patienceMs` a file is waited for that another worker holds: one that was just ended may
 * do so for a moment.
 */
export function browserRuntime(patienceMs: number): Runtime {
  return {
    loadModule: () => load(new URL("../cairn.wasm", import.meta.url)),
    async openTarget(target, { create, readOnly, locks = !readOnly }) {
      if (typeof target === "string") return openOpfs(target, { create, readOnly, locks, patienceMs });
      const message = "open: the target is neither the name of a file nor a BlockDevice; browsers have no file: URLs.";
      throw new CairnError("INVALID_ARGUMENT", "open", message);
    },
    swap: opfsSwap,
    textOf: async (binary) => (await builtinText(binary)) ?? browserText,
    memoryBytesDefault: MEMORY_BYTES_DEFAULT,
  };
}

async function load(url: URL): Promise<WebAssembly.Module> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    // Streaming wants the right content type of the server, and saves little on a file of this size.
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (cause) {
    const message =
      `open: the binary at ${url.href} could not be loaded or compiled (${reasonOf(cause)}). ` +
      "Serve cairn.wasm beside the code, or pass it compiled as the option wasm.";
    throw new CairnError("UNSUPPORTED", "open", message, { cause });
  }
}
