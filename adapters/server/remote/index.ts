/**
 * The server's side of `cairn-kv/client`: upgrades to the subprotocol "cairn.v1", on whichever path they come.
 *
 * A client shows its key in the header `x-api-key`, or its token as `authorization: Bearer`; where it can set no headers, in a page, as a
 * second subprotocol, `cairn.key.` or `cairn.token.` with the key or token as base64url. No credential is ever in a URL.
 */

import type { WireStore } from "../../../store/connection/faces.ts";
import { SUBPROTOCOL } from "../../../store/connection/frames.ts";
import type { Store } from "../../../store/store.ts";
import type { Origin } from "../access/index.ts";
import { ServerFailure } from "../failure.ts";
import { failedAttempt } from "../limits/attempts.ts";
import type { Principal } from "../principal.ts";
import type { RequestInfo, UpgradeHandler } from "../wire.ts";
import { limitsFor, type RemoteContext, type RemoteLimits } from "./context.ts";
import { RemoteSession } from "./session.ts";
import type { SessionTerms } from "./session-terms.ts";

export type { RemoteContext, RemoteLimits } from "./context.ts";

/** How soon clients hear of what has become durable. */
const TELL_MS = 50;
/** How often it is seen at least who is gone, and what is unused. */
const SWEEP_MS = 5000;
const GONE = 1001;
const REVOKED = 1008;
const MISSING = "Missing or invalid API key or token.";

/** A store's openings by name: what several servers of one store say of it must be the same. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the program has opened.
const lives = new WeakMap<Store<any, any>, string>();

interface Shown {
  principal: Principal;
  /** Looks again: a token expires. */
  isValid(): boolean;
}

/**
 * Answers ordinary requests for the path of connections: 401 where the key or token does not count, else 426. Pages ask so, which are not
 * told why an upgrade was refused.
 */
export function remoteCheck(
  context: Pick<RemoteContext, "access" | "limits">,
): (request: Request, info: RequestInfo) => Response {
  return (request, { address }) => {
    if (shownBy(context.access, request.headers, [], address) === undefined) {
      return refusalOf(failedAttempt(context.limits, address, new ServerFailure(401, MISSING)));
    }
    return refusal(426, `Connect with a WebSocket and the subprotocol ${SUBPROTOCOL}.`, { upgrade: "websocket" });
  };
}

/** Takes clients of `cairn-kv/client`. `limits` are those of one connection. */
export function remoteHandler(context: RemoteContext, limits: Partial<RemoteLimits> = {}): UpgradeHandler {
  const { store, access, config, closing } = context;
  const decided = limitsFor(context, limits);
  const sweepMs = Math.min(SWEEP_MS, decided.idleMs / 4, decided.unusedMs / 4);
  const life = lives.get(store) ?? crypto.randomUUID();
  lives.set(store, life);
  const whole = store.withEncodings({ keyEncoding: "binary", valueEncoding: "binary" });
  const sessions = new Map<RemoteSession, () => boolean>();
  const behind = new Set<RemoteSession>();
  let telling: ReturnType<typeof setTimeout> | undefined;
  let sweeping: ReturnType<typeof setTimeout> | undefined;

  function tell(): void {
    telling = undefined;
    for (const session of behind) if (!session.tell()) behind.delete(session);
    if (behind.size > 0) telling = setTimeout(tell, TELL_MS);
  }

  function sweep(): void {
    sweeping = undefined;
    const now = performance.now();
    for (const [session, isValid] of sessions) {
      if (now - session.heardAt > decided.idleMs) session.drop(GONE, "nothing was heard of the client");
      else if (!isValid()) session.drop(REVOKED, "the key or token does not count any more");
      else session.endUnused(now);
    }
    if (sessions.size > 0) sweeping = setTimeout(sweep, sweepMs);
  }

  closing.addEventListener("abort", () => {
    for (const session of sessions.keys()) session.finish();
  });

  return (request, info) => {
    const protocols = (request.headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
    if (!protocols.includes(SUBPROTOCOL)) return refusal(400, `The subprotocol ${SUBPROTOCOL} is missing.`);
    if (closing.aborted) return refusal(503, "The server closes.", { "retry-after": "1" });
    const { address } = info;
    const shown = shownBy(access, request.headers, protocols, address);
    // The server around it counts this against the address.
    if (shown === undefined || !shown.isValid()) return refusal(401, MISSING);
    const { principal, isValid } = shown;
    const { namespace } = access.tenant(principal.tenant);
    const tenantStore =
      namespace === "" ? whole : whole.sub(namespace, { keyEncoding: "binary", valueEncoding: "binary" });
    const terms: SessionTerms = {
      principal,
      store: tenantStore as unknown as WireStore,
      namespace,
      isReadOnly: config.readOnly === true,
      life,
      limits: decided,
      meter: context.meter,
      admit: () => context.limits.request(principal),
      told: {
        denied(verb, key, operation) {
          access.denied(principal, verb, key, { address, protocol: "remote", operation });
        },
        acts(operation) {
          const { id, tenant } = principal;
          access.audit.admin(operation, { key: id, tenant, address, protocol: "remote" });
        },
      },
      isBehind(session) {
        behind.add(session);
        if (telling === undefined) telling = setTimeout(tell, TELL_MS);
      },
      ended(session) {
        sessions.delete(session);
        behind.delete(session);
        principal.revoked.removeEventListener("abort", revoke);
      },
    };
    let session: RemoteSession | undefined;
    const revoke = (): void => session?.drop(REVOKED, "the key was revoked");
    return {
      principal,
      protocol: SUBPROTOCOL,
      begin(socket) {
        session = new RemoteSession(socket, terms);
        sessions.set(session, isValid);
        principal.revoked.addEventListener("abort", revoke);
        if (sweeping === undefined) sweeping = setTimeout(sweep, sweepMs);
        if (closing.aborted) session.finish();
        return session;
      },
    };
  };
}

/** Whose credential a request shows; `undefined`: nobody's. */
function shownBy(
  access: RemoteContext["access"],
  headers: Headers,
  protocols: readonly string[],
  address: string,
): Shown | undefined {
  const from: Origin = { address, protocol: "remote" };
  const key = headers.get("x-api-key") ?? credentialIn(protocols, "cairn.key.");
  if (key !== undefined) {
    const principal = access.authenticate(key, from);
    return principal && { principal, isValid: () => !principal.revoked.aborted };
  }
  const token = bearerIn(headers) ?? credentialIn(protocols, "cairn.token.");
  if (token === undefined) return undefined;
  const principal = access.verifyToken(token, from);
  return (
    principal && {
      principal,
      isValid: () => !principal.revoked.aborted && access.verifyToken(token, from) !== undefined,
    }
  );
}

function bearerIn(headers: Headers): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
}

/** What a subprotocol carries behind a prefix. */
function credentialIn(protocols: readonly string[], prefix: string): string | undefined {
  const found = protocols.find((name) => name.startsWith(prefix));
  if (found === undefined) return undefined;
  try {
    const binary = atob(found.slice(prefix.length).replaceAll("-", "+").replaceAll("_", "/"));
    return new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  } catch {
    return "";
  }
}

function refusalOf({ status, message, retryAfter }: ServerFailure): Response {
  return refusal(status, message, retryAfter === undefined ? {} : { "retry-after": `${Math.ceil(retryAfter)}` });
}

function refusal(status: number, message: string, headers: Record<string, string> = {}): Response {
  const body = JSON.stringify({ error: message, message });
  return new Response(body, { status, headers: { "content-type": "application/json", ...headers } });
}
