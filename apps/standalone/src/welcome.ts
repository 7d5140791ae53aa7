/** What `npm start` prints when it is ready. Names the file of the key, never the key. */
export function welcome(input: { url: string; /** null: the key came from TOLLGATE_ADMIN_KEY. */ keyFile: string | null }): string {
  const key = input.keyFile === null ? '$TOLLGATE_ADMIN_KEY' : `$(cat ${input.keyFile})`;
  const event = '{"event_id":"first","tenant_id":"acme","provider":"openai","model":"gpt-4o","usage":{"input_tokens":1200,"output_tokens":300}}';
  return [
    '',
    `Tollgate is running at ${input.url}`,
    ...(input.keyFile === null ? [] : [`The admin key is in ${input.keyFile}`]),
    '',
    'Send a first event:',
    `  curl ${input.url}/v1/events -H "Authorization: Bearer ${key}" -H 'Content-Type: application/json' \\`,
    `    -d '${event}'`,
    '',
    '',
  ].join('\n');
}
