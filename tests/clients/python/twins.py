"""Client and AsyncClient, with what a test does spelled once for both."""

import asyncio
import concurrent.futures

import precis_client as precis


class Sync:
    @staticmethod
    def summarize(address, *args, client=None, **rest):
        with precis.Client(address, **(client or {})) as made:
            return made.summarize(*args, **rest)

    @staticmethod
    def stream(address, seen, **client):
        with precis.Client(address, **client) as made:
            with made.stream("text") as stream:
                for one in stream:
                    seen.append(one)
                return stream.text, stream.summary

    @staticmethod
    def pieces(address, *args, client=None, **rest):
        with precis.Client(address, **(client or {})) as made:
            return list(made.stream_text(*args, **rest))

    @staticmethod
    def together(address, count, client=None, **rest):
        """So many calls at once; what each gave, a text or an error."""
        def one(number):
            try:
                return made.summarize(f"text {number}", **rest).text
            except precis.PrecisError as error:
                return error
        with precis.Client(address, **(client or {})) as made:
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                return list(pool.map(one, range(count)))

    @staticmethod
    def many(address, documents, client=None, **rest):
        with precis.Client(address, **(client or {})) as made:
            return list(made.summarize_many(documents, **rest))


class Async:
    @staticmethod
    def summarize(address, *args, client=None, **rest):
        async def run():
            async with precis.AsyncClient(address, **(client or {})) as made:
                return await made.summarize(*args, **rest)
        return asyncio.run(run())

    @staticmethod
    def stream(address, seen, **client):
        async def run():
            async with precis.AsyncClient(address, **client) as made:
                async with made.stream("text") as stream:
                    async for one in stream:
                        seen.append(one)
                    return stream.text, stream.summary
        return asyncio.run(run())

    @staticmethod
    def pieces(address, *args, client=None, **rest):
        async def run():
            async with precis.AsyncClient(address, **(client or {})) as made:
                return [one async for one in made.stream_text(*args, **rest)]
        return asyncio.run(run())

    @staticmethod
    def together(address, count, client=None, **rest):
        async def run():
            async with precis.AsyncClient(address, **(client or {})) as made:
                calls = [made.summarize(f"text {number}", **rest) for number in range(count)]
                given = await asyncio.gather(*calls, return_exceptions=True)
                return [one if isinstance(one, Exception) else one.text for one in given]
        return asyncio.run(run())

    @staticmethod
    def many(address, documents, client=None, **rest):
        async def run():
            async with precis.AsyncClient(address, **(client or {})) as made:
                return [one async for one in made.summarize_many(documents, **rest)]
        return asyncio.run(run())
