# A Sidekiq worker that gives itself a job of 3 s as soon as it is there.
require 'sidekiq'

class Work
  include Sidekiq::Worker

  def perform
    File.write('/mnt/flying', '')
    sleep 3
    File.write('/mnt/done', '')
  end
end

Sidekiq.configure_server { |config| config.on(:startup) { Work.perform_async } }
