// A server whose answer to /slow takes 3 s; with "shutdown" TERM and INT let it end first.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			os.WriteFile("/mnt/flying", nil, 0o644)
			time.Sleep(3 * time.Second)
		}
		fmt.Fprintln(answer, "done")
	})
	server := &http.Server{Addr: "127.0.0.1:8080"}
	if len(os.Args) == 1 {
		server.ListenAndServe()
		os.Exit(1)
	}
	asked, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go server.ListenAndServe()
	<-asked.Done()
	// From here on a second signal ends it at once, as many programs have it.
	restore()
	server.Shutdown(context.Background())
	fmt.Println("well: shutdown")
}
