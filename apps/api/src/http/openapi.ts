/**
 * The OpenAPI 3.1 document is made from the same zod schemas that validate requests, so it cannot disagree with the code.
 */
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { z } from 'zod';
import { InvariantError } from '#libs/kernel/index.js';
import { GATEWAY_KEY } from './access.js';

const VERSION = '0.1.0';

/** Holds the document once the routes are known. */
export class OpenApiDocument {
  private made: OpenAPIObject | undefined;

  /** @throws InvariantError before {@link make} */
  get(): OpenAPIObject {
    if (this.made === undefined) throw new InvariantError('the OpenAPI document is made after the routes are registered');
    return this.made;
  }

  make(app: INestApplication): void {
    const frame = new DocumentBuilder()
      .setOpenAPIVersion('3.1.0')
      .setTitle('Tollgate')
      .setDescription('Usage-based billing and quota for companies that call LLMs on behalf of their customers.')
      .setVersion(VERSION)
      .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'A service key: tg_<env>_<public id>_<secret>' })
      .addApiKey(
        { type: 'apiKey', in: 'header', name: 'x-tollgate-key', description: 'The same, from a gateway that passes on its client’s Authorization' },
        GATEWAY_KEY,
      )
      .build();
    this.made = SwaggerModule.createDocument(app, frame, { standardSchemaConverter: (schema, { schemaType }) => convert(schema, schemaType) });
  }
}

/** A body that its route reads item by item, for `@ApiBody({ schema: bodySchema(...) })`: documented, not validated as a whole. */
export function bodySchema(schema: z.ZodType): Record<string, never> {
  const { $schema: _dialect, ...body } = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input', unrepresentable: 'any' });
  return body as never;
}

/** A zod schema as JSON Schema; what it references by `.meta({ id })` becomes a component. */
function convert(schema: unknown, io: 'input' | 'output') {
  if (!(schema instanceof z.ZodType)) return undefined;
  const { $schema: _dialect, $defs: components = {}, ...body } = z.toJSONSchema(schema, { target: 'draft-2020-12', io, unrepresentable: 'any' });
  return { schema: body, components } as never;
}
