/** What the server tells about itself as metrics: operations, connections, limits, the process. */
import type { Family, Labels, Sample } from "./families.ts";
import { Histograms } from "./histogram.ts";
import type { ServerMeter } from "./meter.ts";
import { OPERATIONS, PROTOCOLS } from "./operations.ts";

/** Bytes of the connections of a port. */
export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

/** What the limits have seen. */
export interface LimitCounts {
  readonly refusedRequests: number;
  readonly refusedBytes: number;
  readonly refusedConnections: number;
  readonly authenticationFailures: number;
  readonly refusedAttempts: number;
  readonly bytesInFlight: number;
  /** By tenant, of those that are remembered. */
  tenantCounts(): Iterable<{ tenant: string; requests: number; refused: number; connections: number; bytes: number }>;
}

/** Where the figures come from. */
export interface ServerSource {
  readonly meter: ServerMeter;
  readonly limits: LimitCounts;
  /** Connections over HTTP, those included whose WebSocket is not there yet. */
  http(): { open: number; opened: number };
  traffic(): { web: Traffic; rioc: Traffic };
  slowCount(): number;
  /** How many tenants are shown; 0: none. */
  readonly tenantsMax: number;
}

const DELAY_EVERY_MS = 100;

/** How late timers are: the event loop was busy for as long. */
export class LoopDelay {
  private readonly delays = new Histograms(1);
  private readonly timer: ReturnType<typeof setInterval>;

  /** `onTick` gets the time, by `performance.now()`, ten times a second. */
  constructor(onTick: (now: number) => void) {
    let due = performance.now() + DELAY_EVERY_MS;
    this.timer = setInterval(() => {
      const now = performance.now();
      this.delays.add(0, Math.max(0, now - due));
      due = now + DELAY_EVERY_MS;
      onTick(now);
    }, DELAY_EVERY_MS);
    (this.timer as { unref?: () => void }).unref?.();
  }

  read(): ReturnType<Histograms["read"]> {
    return this.delays.read(0);
  }

  close(): void {
    clearInterval(this.timer);
  }
}

/** The server's families. */
export function serverFamilies(source: ServerSource, delay: LoopDelay): Family[] {
  const { meter, limits } = source;
  const operations = [...meter.operations()];
  const labelsOf = (number: number): Labels => {
    const { protocol, name } = OPERATIONS[number] as (typeof OPERATIONS)[number];
    return [
      ["protocol", protocol],
      ["operation", name],
    ];
  };
  const http = source.http();
  const connections = [
    { protocol: "http", ...http },
    ...PROTOCOLS.filter((name) => name !== "rest").map((protocol) => ({ protocol, ...meter.connections(protocol) })),
  ];
  const { web, rioc } = source.traffic();
  const one = (value: number): Sample[] => [{ labels: [], value }];
  const by = (name: string, values: Record<string, number>): Sample[] =>
    Object.entries(values).map(([label, value]) => ({ labels: [[name, label]], value }));
  const families: Family[] = [
    {
      name: "cairn_requests_total",
      type: "counter",
      help: "Operations that were answered, by protocol, operation and status of HTTP; other protocols' statuses are translated.",
      samples: operations.flatMap(({ number, statuses }) =>
        statuses.map(([status, value]) => ({ labels: [...labelsOf(number), ["status", status] as const], value })),
      ),
    },
    {
      name: "cairn_request_duration_seconds",
      type: "histogram",
      help: "From when an operation was known whole until its answer was; of streams until they began.",
      samples: operations.map(({ number, durations }) => ({ labels: labelsOf(number), distribution: durations })),
    },
    {
      name: "cairn_slow_operations_total",
      type: "counter",
      help: "Operations that took 100 ms or longer.",
      samples: one(source.slowCount()),
    },
    {
      name: "cairn_connections",
      type: "gauge",
      help: "Connections that are open, by protocol.",
      samples: connections.map(({ protocol, open }) => ({ labels: [["protocol", protocol]], value: open })),
    },
    {
      name: "cairn_connections_opened_total",
      type: "counter",
      help: "Connections that were taken, by protocol; what began as HTTP counts there, too.",
      samples: connections.map(({ protocol, opened }) => ({ labels: [["protocol", protocol]], value: opened })),
    },
    {
      name: "cairn_received_bytes_total",
      type: "counter",
      help: "Bytes that came over the connections of a port.",
      samples: by("port", { web: web.received, rioc: rioc.received }),
    },
    {
      name: "cairn_sent_bytes_total",
      type: "counter",
      help: "Bytes that went out over the connections of a port.",
      samples: by("port", { web: web.sent, rioc: rioc.sent }),
    },
    {
      name: "cairn_in_flight_bytes",
      type: "gauge",
      help: "Bytes of requests and answers that count against the limit of what is in flight.",
      samples: one(limits.bytesInFlight),
    },
    {
      name: "cairn_limit_refusals_total",
      type: "counter",
      help: "What was refused or made to wait by a limit: requests by their rate, bytes in flight, connections, attempts to authenticate.",
      samples: by("limit", {
        requests: limits.refusedRequests,
        bytes: limits.refusedBytes,
        connections: limits.refusedConnections,
        attempts: limits.refusedAttempts,
      }),
    },
    {
      name: "cairn_authentication_failures_total",
      type: "counter",
      help: "Keys and tokens that were shown and did not count.",
      samples: one(limits.authenticationFailures),
    },
    {
      name: "cairn_event_loop_delay_seconds",
      type: "histogram",
      help: "How late a timer of the server came that is due ten times a second.",
      samples: [{ labels: [], distribution: delay.read() }],
    },
    ...processFamilies(),
  ];
  return source.tenantsMax === 0 ? families : [...families, ...tenantFamilies(source)];
}

/** Tenants beyond the bound are added up as one without a name. */
function tenantFamilies({ limits, tenantsMax }: ServerSource): Family[] {
  const rows = [...limits.tenantCounts()].sort((a, b) => b.requests - a.requests);
  const shown = rows.slice(0, tenantsMax);
  const rest = rows.slice(tenantsMax);
  const samples = (value: (row: (typeof rows)[number]) => number): Sample[] => [
    ...shown.map((row): Sample => ({ labels: [["tenant", row.tenant]], value: value(row) })),
    ...(rest.length === 0
      ? []
      : [{ labels: [["tenant", ""]] as Labels, value: rest.reduce((sum, row) => sum + value(row), 0) }]),
  ];
  const family = (
    name: string,
    type: "counter" | "gauge",
    help: string,
    value: (row: (typeof rows)[number]) => number,
  ): Family => ({ name, type, help, samples: samples(value) });
  return [
    family(
      "cairn_tenant_requests_total",
      "counter",
      "Requests of a tenant that its limits let through.",
      (row) => row.requests,
    ),
    family(
      "cairn_tenant_refusals_total",
      "counter",
      "Requests of a tenant that its limits did not let through.",
      (row) => row.refused,
    ),
    family("cairn_tenant_connections", "gauge", "Long-lived connections of a tenant.", (row) => row.connections),
    family("cairn_tenant_in_flight_bytes", "gauge", "Bytes of a tenant in flight.", (row) => row.bytes),
  ];
}

/** Under the names that exporters of all languages use. */
function processFamilies(): Family[] {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const one = (value: number): Sample[] => [{ labels: [], value }];
  return [
    { name: "process_resident_memory_bytes", type: "gauge", help: "Resident memory size in bytes.", samples: one(rss) },
    { name: "process_heap_bytes", type: "gauge", help: "Process heap size in bytes.", samples: one(heapUsed) },
    {
      name: "process_cpu_seconds_total",
      type: "counter",
      help: "Total user and system CPU time spent in seconds.",
      samples: one((user + system) / 1e6),
    },
    {
      name: "process_start_time_seconds",
      type: "gauge",
      help: "Start time of the process since unix epoch in seconds.",
      samples: one(Date.now() / 1000 - process.uptime()),
    },
  ];
}
