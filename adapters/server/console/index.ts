/**
 * The console: a page at `/console/` over the REST of the same server. Here are its files, as the build has made them.
 *
 * 1. The files are for everybody, and hold nothing of the store: what the page shows it asks for with the API key of whoever signs in.
 * 2. No answer below `/console` may be framed, sniffed, or run anything but the page's own files: the policy goes with refusals, too.
 * 3. Names of files but `index.html` hold a hash of what is in them, so that browsers keep them for good and ask for the page anew.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { ServerContext } from "../context.ts";
import { ServerFailure } from "../failure.ts";
import { failureReply, type PartHandler, pathOf } from "../handler.ts";
import { withHeaders } from "../origins.ts";
import { type ReplyHeaders, reply } from "../reply.ts";

/** Where the build puts the page's files. */
const FILES = new URL("./page/", import.meta.url);
const ROOT = "/console";
const PAGE = "index.html";
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** What every answer says. Styles that scripts set on elements are no inline styles in the sense of the policy. */
export const CONSOLE_HEADERS: Readonly<ReplyHeaders> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

/** A file, ready to be sent. */
interface ServedFile {
  body: Uint8Array;
  headers: ReplyHeaders;
}

/** Serves `/console` and what lies below. */
export function consoleHandler({ log }: Pick<ServerContext, "log">): PartHandler {
  let files: Promise<ReadonlyMap<string, ServedFile>> | undefined;

  function read(): Promise<ReadonlyMap<string, ServedFile>> {
    files ??= filesIn(FILES).catch((error: unknown) => {
      files = undefined;
      log.error("the console's files cannot be read", { error });
      throw new ServerFailure(
        404,
        "The console's files are not there. They lie beside the server's code in the package, and no bundler takes them along.",
      );
    });
    return files;
  }

  async function answer(request: Request): Promise<Response> {
    const path = pathOf(request);
    const { method, headers } = request;
    if (method !== "GET" && method !== "HEAD") {
      const allow = "GET, HEAD, OPTIONS";
      const refusal = failureReply(new ServerFailure(405, `The method is not allowed here. Allowed: ${allow}.`));
      return withHeaders(method === "OPTIONS" ? reply(204) : refusal, { allow });
    }
    // Relative, so that it holds behind whatever stands in front of the server.
    if (path === ROOT) return reply(308, null, { location: "console/", "cache-control": "no-cache" });
    const name = path.slice(ROOT.length + 1);
    const file = (await read()).get(name === "" ? PAGE : name);
    if (file === undefined) throw new ServerFailure(404, "The console has no file of this name.");
    const tag = file.headers["etag"] as string;
    if (headers.get("if-none-match") === tag) return reply(304, null, { ...file.headers });
    if (method === "GET") return reply(200, file.body, { ...file.headers });
    return reply(200, null, { ...file.headers, "content-length": String(file.body.length) });
  }

  return (request) =>
    answer(request)
      .catch((error: unknown) => failureReply(error))
      .then((response) => withHeaders(response, CONSOLE_HEADERS));
}

async function filesIn(folder: URL): Promise<ReadonlyMap<string, ServedFile>> {
  const names = (await readdir(folder)).filter((name) => TYPES[extensionOf(name)] !== undefined);
  if (!names.includes(PAGE)) throw new Error(`there is no ${PAGE} in ${folder.pathname}`);
  const entries = names.map(async (name): Promise<[string, ServedFile]> => {
    const body = new Uint8Array(await readFile(new URL(name, folder)));
    const hash = createHash("sha256").update(body).digest("base64url").slice(0, 22);
    const headers = {
      "content-type": TYPES[extensionOf(name)] as string,
      "cache-control": name === PAGE ? "no-cache" : "public, max-age=31536000, immutable",
      etag: `"${hash}"`,
    };
    return [name, { body, headers }];
  });
  return new Map(await Promise.all(entries));
}

function extensionOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}
