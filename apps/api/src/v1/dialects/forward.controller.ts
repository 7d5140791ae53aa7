import { All, Controller, Req, Res } from '@nestjs/common';
import { ApiForbiddenResponse, ApiHeader, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AUTHORIZE_HEADER_FIELDS, defaultAuthorizeHeader, readCallBody, SourceDirectory } from '#libs/metering/index.js';
import { AuthorizeCall } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { problemDocument } from '../../http/problem.js';
import { authorizeAnswer } from '../authorize/authorize.schemas.js';
import { ask, sourceOf, type Outcome } from './ask.js';
import { ANSWER_HEADERS, problemWire } from './dialects.schemas.js';
import { readQuestionHeaders } from './question-headers.js';
import { verdictOf, type Verdict } from './verdict.js';

const QUESTION = AUTHORIZE_HEADER_FIELDS.map((field) =>
  ApiHeader({ name: defaultAuthorizeHeader(field), required: false, description: `\`${field}\`; a source may name another header` }),
);
/** Paths of calls that answer with numbers. */
const WITHOUT_TEXT = /\/(?:embeddings|moderations|rerank)\/?(?:$|\?)/;

function documentQuestion(target: object, key: string | symbol, descriptor: PropertyDescriptor): void {
  for (const decorate of QUESTION) (decorate as MethodDecorator)(target, key, descriptor);
}

/** For gateways that ask by header and understand a status: Envoy, Traefik, APISIX; and nginx, which understands two. */
@ApiTags('authorize')
@Controller('v1/authorize')
export class ForwardController {
  constructor(
    private readonly authorize: AuthorizeCall,
    private readonly sources: SourceDirectory,
  ) {}

  /** Envoy ext_authz (HTTP), Traefik ForwardAuth, APISIX forward-auth. The rest of the path is the client's and is not read. */
  @All(['forward', 'forward/*'])
  @RequireScope('authorize', { gatewayAsks: true })
  @ApiOperation({ summary: 'The decision for a gateway that passes on its client’s request' })
  @documentQuestion
  @ApiOkResponse({ standardSchema: authorizeAnswer, headers: ANSWER_HEADERS })
  @ApiResponse({ status: 402, standardSchema: problemWire, headers: ANSWER_HEADERS, description: 'Money is missing' })
  @ApiResponse({ status: 403, standardSchema: problemWire, headers: ANSWER_HEADERS, description: 'This call may not be made' })
  @ApiResponse({ status: 429, standardSchema: problemWire, headers: ANSWER_HEADERS, description: 'Waiting helps: see Retry-After' })
  async forward(@Req() request: FastifyRequest, @CurrentCaller() caller: Caller, @Res() reply: FastifyReply): Promise<void> {
    const outcome = await this.decide(request, caller);
    const verdict = verdictOf(outcome);
    say(reply, verdict.headers);
    if (outcome.kind === 'answered' && verdict.passes) await sendJson(reply.code(200), 'application/json', outcome.answer);
    else await sendProblem(reply, verdict, verdict.status, request.id);
  }

  /** nginx `auth_request`: 204, or 403 with the status to answer in `x-tollgate-status`, because nginx turns any other into 500. */
  @All('nginx')
  @RequireScope('authorize', { gatewayAsks: true })
  @ApiOperation({ summary: 'The decision for nginx auth_request' })
  @documentQuestion
  @ApiNoContentResponse({ headers: ANSWER_HEADERS })
  @ApiForbiddenResponse({ standardSchema: problemWire, headers: { ...ANSWER_HEADERS, 'x-tollgate-status': { schema: { type: 'integer' } } } })
  async nginx(@Req() request: FastifyRequest, @CurrentCaller() caller: Caller, @Res() reply: FastifyReply): Promise<void> {
    const verdict = verdictOf(await this.decide(request, caller));
    say(reply, verdict.headers);
    if (verdict.passes) await reply.code(204).send();
    else await sendProblem(reply.header('x-tollgate-status', String(verdict.status)), verdict, 403, request.id);
  }

  private async decide(request: FastifyRequest, caller: Caller): Promise<Outcome> {
    const source = await sourceOf(this.sources, caller);
    return await ask(this.authorize, () => {
      const { fields, asAskedOnly, headerOf } = readQuestionHeaders(request.raw.headersDistinct, source?.authorizeHeaders ?? {});
      return {
        caller,
        source,
        sourceId: caller.sourceId ?? '',
        fields: { ...sizeOf(request), ...fields },
        headerOf,
        canChange: asAskedOnly ? 'nothing' : undefined,
      };
    });
  }
}

/** What the body says of the call; a header that says it too is set by the gateway's operator and wins. */
function sizeOf(request: FastifyRequest): Record<string, unknown> {
  const call = Buffer.isBuffer(request.body) ? readCallBody(request.body) : null;
  const maxOutputTokens = WITHOUT_TEXT.test(clientPath(request)) ? 0 : call?.maxOutputTokens;
  return { model: call?.model, input_tokens: call?.inputTokens, max_output_tokens: maxOutputTokens };
}

/** Envoy appends the client's path to ours; the others say it in a header. */
function clientPath(request: FastifyRequest): string {
  const told = request.headers['x-forwarded-uri'] ?? request.headers['x-original-uri'];
  return typeof told === 'string' ? told : request.url;
}

function say(reply: FastifyReply, headers: Verdict['headers']): void {
  for (const [name, value] of headers) reply.header(name, value);
}

async function sendProblem(reply: FastifyReply, { problem }: Verdict, status: number, requestId: string): Promise<void> {
  await sendJson(reply.code(status), 'application/problem+json', problem === null ? {} : problemDocument(problem, requestId));
}

/** As bytes: Node joins a body that is text to the headers and writes both as UTF-8, which would encode ids in headers twice. */
async function sendJson(reply: FastifyReply, type: string, body: object): Promise<void> {
  await reply.header('content-type', `${type}; charset=utf-8`).send(Buffer.from(JSON.stringify(body)));
}
