/** The OpenAPI 3.1 document, made from the table of routes. */
import { JSON_TYPE } from "./answers.ts";
import { type AnswerSpec, objectOfMembers, type Route, type Schema, TEXT } from "./route.ts";

const ERROR = objectOfMembers({ error: TEXT, message: TEXT });
const ERROR_REF = { $ref: "#/components/schemas/Error" };

/** The document. */
export function openApiOf(routes: readonly Omit<Route, "handle">[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    const path = paths[route.path] as Record<string, unknown>;
    path[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Cairn",
      version,
      description:
        "A durable ordered key-value store over HTTP. HEAD answers wherever GET does, and OPTIONS everywhere.",
    },
    paths,
    components: {
      schemas: { Error: ERROR },
      securitySchemes: {
        key: { type: "apiKey", in: "header", name: "x-api-key", description: "An API key." },
        bearer: { type: "http", scheme: "bearer", description: "An API key, or a token of POST /token/websocket." },
      },
    },
  };
}

function operationOf(route: Omit<Route, "handle">): Record<string, unknown> {
  const { id, summary, description, parameters, body, answers, isOpen } = route;
  const responses: Record<string, unknown> = {};
  for (const [status, answer] of Object.entries(answers)) responses[status] = responseOf(Number(status), answer);
  if (isOpen !== true) responses["401"] ??= responseOf(401, { description: "Missing or invalid API key." });
  responses["default"] = responseOf(500, {
    description:
      "Any other refusal: 429 with Retry-After over a limit, 503 while the store cannot answer, 507 without room, 500.",
  });
  return {
    operationId: id,
    summary,
    ...(description === undefined ? {} : { description }),
    security: isOpen === true ? [] : [{ key: [] }, { bearer: [] }],
    ...(parameters === undefined
      ? {}
      : { parameters: parameters.map((one) => ({ ...one, required: one.in === "path" })) }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOf(body) } }),
    responses,
  };
}

function responseOf(status: number, { description, content, headers }: AnswerSpec): Record<string, unknown> {
  const bodies = content ?? (status >= 400 ? { [JSON_TYPE]: ERROR_REF } : undefined);
  return {
    description,
    ...(headers === undefined
      ? {}
      : {
          headers: Object.fromEntries(
            Object.entries(headers).map(([name, text]) => [name, { description: text, schema: TEXT }]),
          ),
        }),
    ...(bodies === undefined ? {} : { content: contentOf(bodies) }),
  };
}

function contentOf(bodies: Readonly<Record<string, Schema>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(bodies).map(([type, schema]) => [type, { schema }]));
}
