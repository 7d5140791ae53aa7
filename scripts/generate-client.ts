/** `npm run generate:client`: writes the generated types of @tollgate/client from the document of an API that it starts for this. */
import { writeFileSync } from 'node:fs';
import { startTollgate } from './demo/tollgate.js';
import { CLIENT_TYPES_FILE, clientTypesOf } from './client-types.js';

const tollgate = await startTollgate();
try {
  const document: unknown = await (await fetch(`${tollgate.url}/openapi.json`)).json();
  writeFileSync(CLIENT_TYPES_FILE, await clientTypesOf(document));
} finally {
  await tollgate.close();
}
