import type { FactoryProvider, InjectionToken } from '@nestjs/common';

/**
 * Registers a plain class as a provider: its constructor receives `dependencies` in order.
 * Keeps use cases free of framework decorators.
 */
export function useCase<Class extends new (...args: never[]) => object>(useClass: Class, dependencies: readonly InjectionToken[]): FactoryProvider {
  return {
    provide: useClass,
    inject: [...dependencies],
    useFactory: (...args: unknown[]) => new useClass(...(args as never[])),
  };
}
