// A server whose answer to /slow takes 3 s; with "hook" a shutdown hook lets it end first.
import com.sun.net.httpserver.HttpServer;
import java.io.File;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

public class App {
    public static void main(String[] arguments) throws Exception {
        AtomicInteger open = new AtomicInteger();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            open.incrementAndGet();
            if (exchange.getRequestURI().getPath().equals("/slow")) {
                new File("/mnt/flying").createNewFile();
                try {
                    Thread.sleep(3000);
                } catch (InterruptedException e) {
                    throw new RuntimeException(e);
                }
            }
            exchange.sendResponseHeaders(200, 5);
            exchange.getResponseBody().write("done\n".getBytes());
            exchange.close();
            open.decrementAndGet();
        });
        if (arguments.length > 0) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                try {
                    while (open.get() > 0) {
                        Thread.sleep(20);
                    }
                } catch (InterruptedException e) {
                    throw new RuntimeException(e);
                }
                System.out.println("well: hook");
            }));
        }
        server.start();
    }
}
