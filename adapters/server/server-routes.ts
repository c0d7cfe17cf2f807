/** Routes that the server answers beside those of REST, for the OpenAPI document. */
import type { DocumentedRoute } from "./rest/index.ts";

const STATUS = {
  "application/json": { type: "object", required: ["status"], properties: { status: { type: "string" } } },
};

const LIVING = {
  "application/json": {
    type: "object",
    required: ["status"],
    properties: { status: { type: "string" }, worker: { type: "integer" } },
  },
};

/** `asksForKey`: whether `/metrics` does. */
export function serverRoutes(asksForKey: boolean): DocumentedRoute[] {
  return [
    {
      method: "GET",
      path: "/metrics",
      id: "getMetrics",
      summary: "Metrics in Prometheus' form, or that of OpenMetrics by Accept",
      isOpen: !asksForKey,
      answers: {
        200: { description: "The metrics.", content: { "text/plain": { type: "string" } } },
        ...(asksForKey ? { 403: { description: "The key is not that of an operator's admin." } } : {}),
      },
    },
    {
      method: "GET",
      path: "/healthz",
      id: "getHealth",
      summary: "Whether the server lives",
      isOpen: true,
      answers: { 200: { description: "It does. `worker`: which of several processes has answered.", content: LIVING } },
    },
    {
      method: "GET",
      path: "/readyz",
      id: "getReadiness",
      summary: "Whether the server can answer",
      isOpen: true,
      answers: {
        200: { description: "It can.", content: STATUS },
        503: { description: "It closes, or the store cannot be used.", content: STATUS },
      },
    },
  ];
}
