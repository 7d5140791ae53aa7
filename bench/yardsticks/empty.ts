/** Yardstick "empty": a NestJS + Fastify POST route that reads and answers the same bytes and does nothing else. Forked; told the answer, says its port. */
import 'reflect-metadata';
import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { AddressInfo } from 'node:net';

let answer: unknown;

@Controller()
class EmptyController {
  @Post('/')
  @HttpCode(202)
  post(@Body() _body: unknown): unknown {
    return answer;
  }
}

@Module({ controllers: [EmptyController] })
class EmptyModule {}

process.once('message', (told: unknown) => {
  answer = told;
  void listen();
});

async function listen(): Promise<void> {
  const app = await NestFactory.create(EmptyModule, new FastifyAdapter({ bodyLimit: 8 * 1024 * 1024 }), { logger: false });
  await app.listen(0, '127.0.0.1');
  process.send?.((app.getHttpServer().address() as AddressInfo).port);
}
