# A server whose answer to /slow takes 3 s.
run(lambda do |env|
  if env['PATH_INFO'] == '/slow'
    File.write('/mnt/flying', '')
    sleep 3
  end
  [200, { 'content-type' => 'text/plain' }, ["done\n"]]
end)
