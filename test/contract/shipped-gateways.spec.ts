/**
 * The configuration we ship for gateways that no package brings along (Traefik, APISIX), and for the others: it can be parsed, asks at
 * routes that exist, and names headers that mean something.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { AUTHORIZE_HEADER_FIELDS, defaultAuthorizeHeader } from '#libs/metering/index.js';
import { ANSWER_HEADERS } from '../../apps/api/src/v1/dialects/dialects.schemas.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { readOpenApi } from '../support/openapi.js';

const SHIPPED = [
  'nginx/tollgate.conf',
  'envoy/envoy.yaml',
  'traefik/dynamic.yaml',
  'apisix/apisix.yaml',
  'portkey/config.json',
  'litellm/config-guardrail.yaml',
];
const KNOWN = new Set([...AUTHORIZE_HEADER_FIELDS.map(defaultAuthorizeHeader), ...Object.keys(ANSWER_HEADERS), 'x-tollgate-key', 'x-tollgate-status']);

const read = (path: string): string => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8');

describe('configuration shipped for gateways', () => {
  let api: TestApi;
  beforeAll(async () => void (api = await startTestApi()));
  afterAll(async () => await api.close());

  it.each(SHIPPED.filter((path) => /\.(yaml|json)$/.test(path)))('%s can be parsed', (path) => {
    expect(parse(read(path))).toEqual(expect.any(Object));
  });

  it.each(SHIPPED)('%s asks at a route that exists', async (path) => {
    const routes = new Set((await readOpenApi(api)).operations.map((operation) => operation.path));
    const asked = [...read(path).matchAll(/\/v1\/authorize\/[\w/]+/g)].map(([found]) =>
      found.endsWith('/litellm') ? `${found}/beta/litellm_basic_guardrail_api` : found,
    );
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((found) => !routes.has(found))).toEqual([]);
  });

  it.each(SHIPPED)('%s names no header of ours that does not exist', (path) => {
    const named = [...read(path).matchAll(/x-tollgate-[a-z]+(?:-[a-z]+)*/g)].map(([found]) => found);
    expect(named.filter((found) => !KNOWN.has(found))).toEqual([]);
  });

  it.each(SHIPPED)('%s says what happens while Tollgate is away', (path) => {
    const told = path.endsWith('.json') ? read(path.replace('config.json', 'README.md')) : read(path);
    expect(told).toMatch(/when tollgate is away/i);
  });
});
