/** What the system or the runtime refused, in the API's terms. */
import { CairnError } from "../store/error.ts";
import { errnoOf, isOutOfSpace, reasonOf } from "./positioned-io.ts";

/** The flag of Deno that `cause` asks for, such as `"--allow-write=/srv/data"`; `undefined` when it is no such refusal. */
export function missingFlag(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || cause.name !== "NotCapable") return undefined;
  const [, kind, place] = /^Requires (\w+) access(?: to "([^"]*)")?/.exec(cause.message) ?? [];
  if (kind === undefined || kind === "all") return "--allow-all";
  return place === undefined ? `--allow-${kind}` : `--allow-${kind}=${place}`;
}

/** An argument that cannot be opened. */
export function invalid(message: string, cause?: unknown): CairnError {
  return new CairnError("INVALID_ARGUMENT", "open", message, cause === undefined ? undefined : { cause });
}

/** The error for a path that cannot be opened for `access`. A `CairnError` is passed on as it is. */
export function refusal(path: string, access: "read" | "write", cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  const code = errnoOf(cause);
  const options = { cause };
  if (isOutOfSpace(cause)) {
    return new CairnError(
      "NO_SPACE",
      "open",
      `${path}: no room is left for it (${reasonOf(cause)}). Free some space.`,
      options,
    );
  }
  if (["ENOTDIR", "ELOOP", "ENAMETOOLONG", "EINVAL", "EISDIR"].includes(code)) {
    return invalid(`the target ${path} cannot name a file: ${reasonOf(cause)}.`, cause);
  }
  const flag = missingFlag(cause);
  let advice = "Check the path and the system's limits.";
  if (flag !== undefined) {
    advice = `Start Deno with ${flag}; a store that is written needs --allow-read and --allow-write for its folder.`;
  } else if (code === "EACCES" || code === "EPERM") {
    advice = `This process has no permission to ${access} it: change the permissions${access === "write" ? ", or open with readOnly: true" : ""}.`;
  } else if (code === "EROFS") {
    advice = "The file system is read-only: open with readOnly: true.";
  }
  return new CairnError(
    access === "read" ? "DEVICE_READ" : "DEVICE_WRITE",
    "open",
    `${path} cannot be opened: ${reasonOf(cause)}. ${advice}`,
    options,
  );
}
