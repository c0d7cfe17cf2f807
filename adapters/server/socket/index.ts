/** HPKV's WebSocket protocol: who may connect, and the session that follows. */
import { ServerFailure } from "../failure.ts";
import type { Principal } from "../principal.ts";
import type { Socket, SocketSession, UpgradeAccepted, UpgradeHandler } from "../wire.ts";
import type { Origin, SocketContext } from "./context.ts";
import { HpkvSession } from "./session.ts";

export type { SocketContext, SocketSettings } from "./context.ts";

/**
 * Serves `/ws`: `?token=`, `?apiKey=` or the header `x-api-key`, in this order. Credentials that do not count get 403 before the upgrade.
 * A token's connection is told about changes of the keys that it subscribes to, from the moment on at which its session begins.
 */
export function socketHandler(context: SocketContext): UpgradeHandler {
  return (request, { address }) => {
    const origin: Origin = { address, protocol: "websocket" };
    const principal = principalOf(request, context.access, origin);
    if (principal === undefined) return refusal(new ServerFailure(403, "Missing or invalid API key or token."));
    const accepted = (since?: number): UpgradeAccepted => ({
      principal,
      begin: (socket) => begin(context, principal, origin, socket, since),
    });
    // Who is told that it is connected is told of changes from then on.
    const ready = principal.subscribes && context.feed.ready(principal.tenant);
    return ready === undefined ? accepted() : ready.then(accepted);
  };
}

function principalOf(request: Request, access: SocketContext["access"], origin: Origin): Principal | undefined {
  const { searchParams } = new URL(request.url);
  const token = searchParams.get("token");
  if (token !== null) return access.verifyToken(token, origin);
  const apiKey = searchParams.get("apiKey") ?? request.headers.get("x-api-key");
  return apiKey === null ? undefined : access.authenticate(apiKey, origin);
}

function begin(
  context: SocketContext,
  principal: Principal,
  origin: Origin,
  socket: Socket,
  since?: number,
): SocketSession {
  let leave: (() => void) | undefined;
  const session = new HpkvSession(context, principal, origin, socket, () => leave?.());
  if (principal.subscribes !== undefined) {
    try {
      leave = context.feed.subscribe(principal.tenant, principal.subscribes, session, since);
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
