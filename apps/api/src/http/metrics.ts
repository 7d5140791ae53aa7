import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Counter, Histogram, register } from 'prom-client';

/** The process's Prometheus numbers: its own, and whatever any part registered with prom-client's global registry. All begin with `tollgate_`. */
export class Metrics {
  private readonly requests = existing('tollgate_http_request_seconds') ?? makeRequestHistogram();

  private readonly series = new Map<string, Series>();

  constructor() {
    if (!register.getSingleMetric('tollgate_process_cpu_user_seconds_total')) collectDefaultMetrics({ prefix: 'tollgate_' });
  }

  /** Calls that were allowed while the quota state could not be reached. */
  countBypasses(count: () => number): void {
    this.count('tollgate_authorize_bypassed_total', 'Calls allowed by on_store_failure while the quota state could not be reached', count);
  }

  /** Attempts to note, tell or raise an alert that failed. */
  countAlertFailures(count: () => number): void {
    this.count(
      'tollgate_alert_failures_total',
      'Attempts to note, tell or raise an alert that failed; what it is about was booked, and it is tried again',
      count,
    );
  }

  private count(name: string, help: string, count: () => number): void {
    register.removeSingleMetric(name);
    const counter = new Counter({
      name,
      help,
      collect: () => {
        counter.reset();
        counter.inc(count());
      },
    });
  }

  get contentType(): string {
    return register.contentType;
  }

  async render(): Promise<string> {
    for (const series of this.series.values()) series.tell();
    return await register.metrics();
  }

  /** Measures every request by its route pattern, never by its URL: a label per id would fill the server's memory. */
  observe(instance: FastifyInstance): void {
    instance.addHook('onResponse', (request, reply, done) => {
      this.seriesOf(request.method, request.routeOptions.url ?? 'none', reply.statusCode).note(reply.elapsedTime / 1_000);
      done();
    });
  }

  private seriesOf(method: string, route: string, status: number): Series {
    const key = `${method} ${status} ${route}`;
    let found = this.series.get(key);
    if (found === undefined) {
      const labels = this.requests.labels(method, route, String(status));
      found = new Series((seconds) => labels.observe(seconds));
      this.series.set(key, found);
    }
    return found;
  }
}

/**
 * Times of one series that prom-client has not been told yet: it sorts and joins the labels at every observation, which costs a request more
 * than the rest of its metrics where it is done between other work, and next to nothing where it is done five hundred times in a row.
 */
class Series {
  private readonly waiting: number[] = [];

  constructor(private readonly observe: (seconds: number) => void) {}

  note(seconds: number): void {
    if (this.waiting.push(seconds) >= TOLD_TOGETHER) this.tell();
  }

  tell(): void {
    for (const seconds of this.waiting) this.observe(seconds);
    this.waiting.length = 0;
  }
}

const TOLD_TOGETHER = 500;

type RequestHistogram = Histogram<'method' | 'route' | 'status'>;

function existing(name: string): RequestHistogram | undefined {
  return register.getSingleMetric(name) as RequestHistogram | undefined;
}

function makeRequestHistogram(): RequestHistogram {
  return new Histogram({
    name: 'tollgate_http_request_seconds',
    help: 'Time to answer a request, by route pattern and status',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  });
}
