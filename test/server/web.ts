/** A web server on a free port, for one test: its handler is the test's. */
import { onTestFinished } from "vitest";
import { listenOnWeb, type WebServer, type WebServerOptions } from "../../adapters/server/listen/web-server.ts";
import type { Principal } from "../../adapters/server/principal.ts";
import { reply } from "../../adapters/server/reply.ts";

export interface WebTest {
  handle?: WebServerOptions["handle"] | undefined;
  upgrade?: WebServerOptions["upgrade"] | undefined;
  keeps?: WebServerOptions["keeps"] | undefined;
  left?: WebServerOptions["left"] | undefined;
  timeouts?: Partial<WebServerOptions["timeouts"]>;
  limits?: Partial<WebServerOptions["limits"]>;
  tls?: WebServerOptions["tls"];
}

export async function startWeb(test: WebTest = {}): Promise<WebServer> {
  const server = await listenOnWeb({
    host: "127.0.0.1",
    port: 0,
    tls: test.tls,
    timeouts: { headerMs: 30_000, bodyMs: 30_000, idleMs: 60_000, requestMs: 60_000, ...test.timeouts },
    limits: {
      connections: 20_000,
      bodyBytes: 1_000_000,
      frameBytes: 100_000,
      sendQueueBytes: 1_000_000,
      bytesInFlight: 64_000_000,
      ...test.limits,
    },
    handle: test.handle ?? (async (request) => reply(200, `${request.method} ${new URL(request.url).pathname}`)),
    upgrade: test.upgrade ?? (() => reply(404)),
    left: test.left ?? (() => {}),
    keeps: test.keeps ?? (() => true),
  });
  onTestFinished(() => server.close(0));
  return server;
}

/** Somebody who may do everything; `revoked` is theirs. */
export function somebody(revoked: AbortSignal = new AbortController().signal): Principal {
  return {
    id: "somebody",
    tenant: "home",
    may: () => true,
    mayRange: () => true,
    mayAll: () => true,
    subscribes: undefined,
    revoked,
  };
}
