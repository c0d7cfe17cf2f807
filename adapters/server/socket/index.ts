/** HPKV's WebSocket protocol: who may connect, and the session that follows. */
import { ServerFailure } from "../failure.ts";
import type { Principal } from "../principal.ts";
import type { Socket, SocketSession, UpgradeHandler } from "../wire.ts";
import type { SocketContext } from "./context.ts";
import { Revocations } from "./revocations.ts";
import { HpkvSession } from "./session.ts";

export type { SocketContext, SocketSettings } from "./context.ts";

/**
 * Serves `/ws`: `?token=`, `?apiKey=` or the header `x-api-key`, in this order. Credentials that do not count get 403 before the upgrade.
 * A token's connection is told about changes of the keys that it subscribes to, from the moment on at which its session begins.
 */
export function socketHandler(context: SocketContext): UpgradeHandler {
  const revocations = new Revocations();
  return (request) => {
    const principal = principalOf(request, context.access);
    if (principal === undefined) return refusal(new ServerFailure(403, "Missing or invalid API key or token."));
    return { principal, begin: (socket) => begin(context, revocations, principal, socket) };
  };
}

function principalOf(request: Request, access: SocketContext["access"]): Principal | undefined {
  const { searchParams } = new URL(request.url);
  const token = searchParams.get("token");
  if (token !== null) return access.verifyToken(token);
  const apiKey = searchParams.get("apiKey") ?? request.headers.get("x-api-key");
  return apiKey === null ? undefined : access.authenticate(apiKey);
}

function begin(context: SocketContext, revocations: Revocations, principal: Principal, socket: Socket): SocketSession {
  const leaving: (() => void)[] = [];
  const session = new HpkvSession(context, principal, socket, () => {
    for (const leave of leaving) leave();
  });
  leaving.push(revocations.add(principal.revoked, () => session.revoke()));
  if (principal.subscribes !== undefined) {
    try {
      leaving.push(context.feed.subscribe(principal.tenant, principal.subscribes, session));
    } catch {
      session.lost();
    }
  }
  return session;
}

function refusal({ status, message }: ServerFailure): Response {
  return new Response(JSON.stringify({ error: message, message }), {
    status,
    headers: { "content-type": "application/json" },
  });
}
