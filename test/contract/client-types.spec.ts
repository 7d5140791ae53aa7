import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CLIENT_TYPES_FILE, clientTypesOf } from '../../scripts/client-types.js';
import { startTestApi, type TestApi } from '../support/api.js';

const COMMITTED = fileURLToPath(new URL(`../../${CLIENT_TYPES_FILE}`, import.meta.url));

describe('the types of the TypeScript client', () => {
  let api: TestApi;

  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(async () => await api?.close());

  it('are those of the API as it is; where not: npm run generate:client', async () => {
    const document: unknown = (await api.call('GET', '/openapi.json', { key: null })).body;
    expect(readFileSync(COMMITTED, 'utf8')).toBe(await clientTypesOf(document));
  });

  it('cannot be made of an API that lacks a route the client calls', async () => {
    await expect(clientTypesOf({ paths: {} })).rejects.toThrow('the API has no POST /v1/authorize');
  });
});
